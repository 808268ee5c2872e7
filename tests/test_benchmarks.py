"""Every workload of the benchmark, small, with every driver that is installed: all give the right results.

And the figures that are made of the measurements, which need no server.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pgproto_blocking
from benchmarks.drivers import CORE, DRIVERS, Driver
from benchmarks.measure import able
from benchmarks.worker import check, prepared, settled
from benchmarks.workloads import SETUP, WORKLOADS, workloads
from tests.support.postgres import PostgresServer

# One build runs here, and it doesn't matter what it is called; variants differ in their event loop.
HERE = [
    driver
    for driver in DRIVERS.values()
    if not driver.missing and driver.build != "compiled" and not (driver.build == "" and not driver.main)
]
SMALL = workloads(limit=10)


@pytest.fixture(scope="module")
def tables(pg18: PostgresServer) -> Iterator[str]:
    """The tables of the benchmark, on the server that all tests share: its URL."""
    pg18.query("create database benchmarks")
    dsn = pg18.dsn(dbname="benchmarks")
    with pgproto_blocking.connect(dsn) as conn:
        for sql in SETUP:
            conn.execute(sql)
    yield dsn
    pg18.query("drop database benchmarks with (force)")


@pytest.mark.parametrize("driver", HERE, ids=lambda driver: driver.name)
def test_every_workload_gives_the_right_result(tables: str, driver: Driver) -> None:
    chosen = [workload for workload in SMALL.values() if driver in able(HERE, workload)]
    assert chosen
    wrong = []

    async def main() -> None:
        for workload in chosen:
            session = driver.session()
            await settled(session.connect(tables))
            try:
                operation = await settled(prepared(session, workload))
                if workload.table:
                    reader.execute(f"truncate {workload.table}")
                check(driver, session, workload, await settled(operation()))
                if workload.table:
                    assert reader.fetchval(f"select count(*) from {workload.table}") == workload.stored
                check(driver, session, workload, await settled(operation()))
            except Exception as error:
                wrong.append(f"{workload.name}: {type(error).__name__}: {error}")
            finally:
                await settled(session.close())

    with pgproto_blocking.connect(tables) as reader:
        driver.run(main)
    assert wrong == []


def test_every_workload_is_somebodys() -> None:
    assert set(SMALL) == set(WORKLOADS)
    for workload in WORKLOADS.values():
        assert able([driver for driver in DRIVERS.values() if not driver.missing], workload)


def test_the_core_alone_needs_no_server() -> None:
    assert {driver.build for driver in DRIVERS.values() if driver.name.startswith(CORE)} == {"compiled", "pure"}
