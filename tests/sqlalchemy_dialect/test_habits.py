"""What users of other dialects expect of this one."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, exc, text
from sqlalchemy.ext.asyncio import create_async_engine

import pgproto
from pgproto_blocking import dbapi
from pgproto_sqlalchemy.types import _to_timedelta
from pgproto_sqlalchemy.waiting import Lock


@pytest.mark.parametrize(
    ("months", "days"), [(12, 365), (-12, -365), (13, 395), (-13, -395), (1, 30), (-1, -30), (25, 760)]
)
def test_a_year_is_365_days(months: int, days: int) -> None:
    assert _to_timedelta(pgproto.Interval(months=months, days=0, microseconds=1)) == timedelta(
        days=days, microseconds=1
    )


@pytest.mark.parametrize("option", ["command_timeout=5", "timeout=5", "timeout=5.5&command_timeout=5"])
def test_limits_in_the_url(url: str, option: str) -> None:
    engine = create_engine(f"{url}&{option}")
    with engine.connect() as conn:
        assert conn.execute(text("select 1")).scalar() == 1
        raw: Any = conn.connection.dbapi_connection
        assert raw.timeout == (5 if "command" in option else None)
    engine.dispose()


def test_limits_in_the_url_of_an_asynchronous_engine(url: str) -> None:
    async def main() -> None:
        engine = create_async_engine(f"{url}&command_timeout=5&timeout=5")
        async with engine.connect() as conn:
            assert (await conn.execute(text("select 1"))).scalar() == 1
            raw: Any = (await conn.get_raw_connection()).dbapi_connection
            assert raw.timeout == 5
        await engine.dispose()

    asyncio.run(main())


def test_records_that_use_their_own_connection_in_an_asynchronous_engine(url: str) -> None:
    async def main() -> None:
        engine = create_async_engine(url)
        async with engine.connect() as conn:
            raw: Any = (await conn.get_raw_connection()).dbapi_connection

            def records() -> Iterator[Any]:
                yield raw.execute("select 1").fetchone()

            def call(_: object) -> None:
                cursor = raw.cursor()
                cursor.execute("create temp table t (n int4)")

                def later() -> Iterator[Any]:
                    yield (1,)
                    yield from records()

                with pytest.raises(dbapi.InterfaceError, match="in the middle of a call"):
                    cursor.executemany("insert into t values ($1)", later())

            await conn.run_sync(call)
            await conn.rollback()
            assert (await conn.execute(text("select 1"))).scalar() == 1
        await engine.dispose()

    asyncio.run(asyncio.wait_for(main(), 30))


@pytest.mark.parametrize("options", [{"pool_size": 1, "max_overflow": 0}])
def test_streams_that_are_left_do_not_stay_on_the_server(engine: Engine) -> None:
    for _ in range(3):
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT", stream_results=True) as conn:
            for _row in conn.execute(text("select generate_series(1, 5000)")):
                break
    gc.collect()
    with engine.connect() as conn:
        assert conn.execute(text("select count(*) from pg_cursors where is_holdable")).scalar() == 0


def test_several_statements_in_one_text(engine: Engine) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql("create temp table a1 (n int4); create temp table a2 (n int4);")
        assert conn.execute(text("select count(*) from a2")).scalar() == 0


def test_a_lock_is_not_handed_over_to_a_call_that_could_not_wait() -> None:
    lock = Lock()

    async def take() -> None:
        with lock:  # not in a greenlet
            pass

    async def main() -> None:
        with lock, pytest.raises(exc.MissingGreenlet):
            await asyncio.create_task(take())
        await take()

    asyncio.run(asyncio.wait_for(main(), 30))
    with lock:
        pass
