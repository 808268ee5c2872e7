"""Every workload of the benchmark, small, with every driver that is installed: all give the right results.

And the figures that are made of the measurements, which need no server.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pgproto
import pgproto_blocking
from benchmarks import report, tables
from benchmarks.before import ratios
from benchmarks.drivers import CORE, DRIVERS, FLOOR, Driver
from benchmarks.facts import circumstances
from benchmarks.growth import growths
from benchmarks.measure import Measurement, able
from benchmarks.process import ROOT, WorkerError, WorkerProcess, WrongBuildError
from benchmarks.series import Series, exponent, geometric_mean
from benchmarks.targets import TARGETS, Target
from benchmarks.worker import check, prepared, settled
from benchmarks.workloads import SETUP, WORKLOADS, Workload, workloads
from tests.support.postgres import PostgresServer
from tests.support.readme import PAGES

# One build runs here, and it doesn't matter what it is called; variants differ in their event loop.
HERE = [
    driver
    for driver in DRIVERS.values()
    if not driver.missing and driver.build != "compiled" and not (driver.build == "" and not driver.main)
]
SMALL = workloads(limit=10)
POOLED = {"gather", "pool_cycle", "tasks"}


@pytest.fixture(scope="module")
def database(pg18: PostgresServer) -> Iterator[str]:
    """The tables of the benchmark, on the server that all tests share: its URL."""
    pg18.query("create database benchmarks")
    dsn = pg18.dsn(dbname="benchmarks")
    with pgproto_blocking.connect(dsn) as conn:
        for sql in SETUP:
            conn.execute(sql)
    yield dsn
    pg18.query("drop database benchmarks with (force)")


@pytest.mark.parametrize("driver", HERE, ids=lambda driver: driver.name)
def test_every_workload_gives_the_right_result(database: str, driver: Driver) -> None:
    chosen = [workload for workload in SMALL.values() if driver in able(HERE, workload)]
    assert chosen
    wrong: list[str] = []

    async def run(workload: Workload, session: Any) -> None:
        try:
            operation = await settled(prepared(session, workload))
            if workload.table:
                reader.execute(f"truncate {workload.table}")
            check(driver, session, workload, await settled(operation()))
            if workload.table:
                assert reader.fetchval(f"select count(*) from {workload.table}") == workload.stored
        except Exception as error:
            wrong.append(f"{workload.name}: {type(error).__name__}: {error}")

    async def main() -> None:
        # Kinds with a pool get a session of their own each, the others share one: connecting takes time.
        alone = [[workload] for workload in chosen if workload.kind in POOLED]
        for members in [[workload for workload in chosen if workload.kind not in POOLED], *alone]:
            session = driver.session()
            await settled(session.connect(database))
            for workload in members:
                await run(workload, session)
            await settled(session.close())

    with pgproto_blocking.connect(database) as reader:
        driver.run(main)
    assert wrong == []


@pytest.mark.slow
def test_a_run_measures_each_round_in_processes_of_their_own(database: str) -> None:
    drivers = [DRIVERS[name] for name in (FLOOR, "pgproto blocking, pure")]
    how: dict[str, Any] = {"rounds": 2, "seconds": 0.05, "progress": lambda _: None}
    with Measurement(drivers, database, {"pure": ROOT}, **how) as measurement:
        direct = measurement.run(WORKLOADS["batch_insert_10"])
        delayed = measurement.run(WORKLOADS["single_rtt_5"])
    for series in (*direct.values(), *delayed.values()):
        assert series.error == ""
        assert list(series.rounds) == [0, 1]
        assert min(series.values("wall")) > 0
    assert all(min(series.values("wall")) >= 0.005 for series in delayed.values())


@pytest.mark.slow
def test_two_trees_are_compared_in_pairs(database: str) -> None:
    driver = DRIVERS["pgproto blocking, pure"]
    for name in ("batch_insert_10", "single"):
        told = ratios(driver, WORKLOADS[name], (ROOT, ROOT), database, rounds=1, seconds=0.02)
        assert sorted(told) == ["cpu", "wall"]
        assert min(told.values()) > 0


def test_a_wrong_build_and_a_failure_are_told(database: str) -> None:
    with WorkerProcess(DRIVERS["pgproto blocking, compiled"], {"compiled": ROOT}) as worker:
        with pytest.raises(WrongBuildError, match="has imported the pure build"):
            worker.prepare(WORKLOADS["single"], database)
        with pytest.raises(WorkerError, match="ConnectError"):
            worker.prepare(WORKLOADS["single"], "postgresql://postgres@127.0.0.1:1/postgres")
        assert worker.alive
    assert not worker.alive


def test_every_workload_is_somebodys() -> None:
    assert set(SMALL) == set(WORKLOADS)
    for workload in WORKLOADS.values():
        assert able([driver for driver in DRIVERS.values() if not driver.missing], workload)


def test_the_core_alone_needs_no_server() -> None:
    assert {driver.build for driver in DRIVERS.values() if driver.name.startswith(CORE)} == {
        "compiled",
        "pure",
    }


def test_the_build_is_trained_on_work_that_needs_no_server() -> None:
    command = [sys.executable, "-m", "benchmarks.training"]
    done = subprocess.run(command, cwd=ROOT, timeout=60, capture_output=True, text=True)
    expected = {"compiled": (0, ""), "pure": (1, "the pure build cannot be trained\n")}
    assert (done.returncode, done.stderr) == expected[pgproto.build]


# ---- What is made of the figures


def _series(driver: str, *walls: float) -> Series:
    series = Series(driver)
    for number, wall in enumerate(walls):
        series.add(number, {"wall": wall, "cpu": wall / 2, "peak": 1 << 20})
    return series


def test_ratios_are_made_within_a_round() -> None:
    # The machine was ten times slower in the second round: that is nobody's merit.
    floor, ours = _series(FLOOR, 1.0, 10.0, 1.0), _series("ours", 2.0, 20.0, 3.0)
    assert ours.ratio_to(floor, "wall") == 2.0
    assert ours.median("wall") == 3.0
    assert ours.median("cpu") == 1.5
    assert ours.quartiles("wall") == (2.5, 11.5)


def test_a_slow_driver_is_compared_in_the_rounds_that_it_took_part_in() -> None:
    slow = Series("slow")
    slow.add(1, {"wall": 40.0, "cpu": 0.0, "peak": 0})
    assert slow.ratio_to(_series("ours", 1.0, 20.0, 1.0), "wall") == 2.0
    assert slow.quartiles("wall") == (40.0, 40.0)
    assert math.isnan(Series("none").ratio_to(slow, "wall"))


def test_the_exponent_of_what_is_linear_is_one() -> None:
    assert exponent([10, 100, 1000], [1.0, 10.0, 100.0]) == pytest.approx(1.0)
    assert exponent([10, 100, 1000], [1.0, 100.0, 10000.0]) == pytest.approx(2.0)
    assert math.isnan(geometric_mean([]))


def test_a_target_is_reached_or_not_or_not_measured() -> None:
    results = {"single": {"ours": _series("ours", 2.0), "peer": _series("peer", 3.0)}}
    most = Target("", ("single",), "ours", "peer", "wall", 0.7)
    assert str(most.verdict(results)) == "reached 0.67x (0.70x asked)"
    least = Target("", ("single",), "ours", "peer", "wall", 2, faster=True)
    assert str(least.verdict(results)) == "NOT reached 1.50x faster (2.00x faster asked)"
    memory = Target("", ("single",), "ours", "", "peak", 2 << 20)
    assert str(memory.verdict(results)) == "reached 1.0 MiB (2.0 MiB asked)"
    assert str(memory.verdict({})) == "not measured (2.0 MiB asked)"


def test_where_each_ratio_is_asked_for_the_largest_counts_and_all_that_missed_are_named() -> None:
    peer = _series("peer", 2.0)
    results = {
        name: {"ours": _series("ours", wall), "peer": peer}
        for name, wall in (("single", 1.0), ("gather", 3.0), ("pg_type", 4.0))
    }
    each = Target("", tuple(results), "ours", "peer", "wall", 1.1, each=True)
    assert str(each.verdict(results)) == "NOT reached 2.00x (1.10x asked): pg_type 2.00, gather 1.50"
    assert str(Target("", ("single",), "ours", "peer", "wall", 1.1, each=True).verdict(results)) == (
        "reached 0.50x (1.10x asked)"
    )
    assert each.verdict({"single": results["single"]}).reached is None


def test_types_are_reported_in_one_table_the_worst_first() -> None:
    names = ("pgproto asyncio, compiled", "asyncpg")
    results = {
        f"read_{name}": {
            driver: _series(driver, wall) for driver, wall in zip(names, (wall, 0.01), strict=True)
        }
        for name, wall in (("int4", 0.005), ("uuid", 0.02))
    }
    results["write_int4"] = {names[0]: Series(names[0])}
    lines = tables.markdown(results, circumstances([], "18", 1)).splitlines()
    table = [line for line in lines if line.startswith("| `")]
    assert table == [
        "| `read_uuid` | 2,000 | 1,000 | 2.00 |",
        "| `read_int4` | 500 | 1,000 | 0.50 |",
        "| `write_int4` | - | - | - |",
    ]


def test_the_targets_name_workloads_and_drivers_that_exist() -> None:
    for target in TARGETS:
        for name in target.workloads:
            found = {driver.name for driver in able(list(DRIVERS.values()), WORKLOADS[name])}
            assert {target.ours, target.theirs or target.ours} <= found, target.title


def test_the_report_has_every_driver_and_every_failure() -> None:
    failed = Series("psycopg")
    failed.error = "did not want to"
    names = (FLOOR, "pgproto asyncio, pure", "asyncpg")
    results = {
        f"batch_select_{size}": {
            **{name: _series(name, size * factor / 1e6) for factor, name in enumerate(names, 1)},
            "psycopg": failed,
        }
        for size in (10, 100, 1000)
    }
    installed = [DRIVERS[name] for name in names if not DRIVERS[name].missing]
    facts = circumstances(installed, "18.6", 1)
    markdown = tables.markdown(results, facts)
    line = "| pgproto asyncio, pure |  | 0.200 | 0.200 to 0.200 | 0.100 | 1.00 | 2.00 | 0.67 | 0.67 |"
    assert line in markdown
    assert "| psycopg | failed: did not want to |" in markdown
    assert [round(fit.exponent, 6) for fit in growths(results)] == [1.0, 1.0]
    data = json.loads(report.as_json(results, facts))
    assert set(data["workloads"]) == set(results)
    assert "one cached select" in tables.summary(results, facts)


@pytest.mark.slow
def test_the_pictures_have_a_bar_for_each_driver_and_no_ground(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    names = (FLOOR, "pgproto asyncio, compiled", "pgproto asyncio, pure", "pgproto blocking, compiled")
    results = {
        f"batch_select_{size}": {
            name: _series(name, size * factor / 1e6) for factor, name in enumerate(names, 1)
        }
        for size in (10, 100, 1000)
    }
    files = report.write(tmp_path, results, circumstances([], "18.6", 1))
    assert {path.name for path in files} == {"batches.svg", "growth.svg", "results.json", "README.md"}
    text = (tmp_path / "batches.svg").read_text()
    assert "pgproto asyncio, pure" in text
    assert "1.50" in text
    assert "fill: #ffffff" not in text


def test_the_report_finds_its_place_in_the_figures(tmp_path: Path) -> None:
    figures = PAGES["docs/figures.md"]
    page = tmp_path / "figures.md"
    page.write_text(figures)
    report.write_page(page, "FIGURES")
    text = page.read_text()
    before, _, after = text.partition("FIGURES")
    assert before.endswith(f"{report.BEGIN}\n\n")
    assert after.startswith(f"\n\n{report.END}")
    assert figures.startswith(before)
    assert figures.endswith(after)
    report.write_page(page, "FIGURES")
    assert page.read_text() == text


def test_a_page_without_the_place_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"text {report.BEGIN} text")
    with pytest.raises(ValueError, match="no place"):
        report.write_page(page, "FIGURES")
