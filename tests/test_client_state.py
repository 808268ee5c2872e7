"""What a session is beside its statements: `cancel`, `idle_for`, `data`."""

from __future__ import annotations

from typing import Any

import pytest

from pgproto import ConnectError
from pgproto.client import Connection
from pgproto.errors import PostgresError
from pgproto.session import GRACE
from pgproto.testing import ModelServer, VirtualRuntime
from tests.support.backend import Answer
from tests.support.pair import Pair
from tests.support.queries import query
from tests.support.virtual import TABLE, with_connection


def test_the_statement_that_runs_is_cancelled_and_no_other() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        errors: list[PostgresError] = []
        began = runtime.now()

        async def slow() -> None:
            with pytest.raises(PostgresError) as caught:
                await conn.fetchval("select slow")
            errors.append(caught.value)

        assert await conn.cancel() is False
        runtime.spawn(slow)
        await runtime.sleep(1)
        assert conn.idle_for == 0
        assert await conn.cancel() is True
        assert await conn.fetchval("select 1") == 1
        assert [error.sqlstate for error in errors] == ["57014"]
        assert runtime.now() - began < 2
        await runtime.sleep(3)
        assert conn.idle_for == pytest.approx(3, abs=0.1)

    with_connection(work)


def test_a_request_that_cannot_be_delivered() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async def fails(key: object, seconds: float) -> bool:
            asked.append(seconds)
            return False

        asked: list[float] = []
        conn.link.send_cancel = fails
        task = runtime.spawn(conn.fetchval, "select slow")
        await runtime.sleep(1)
        with pytest.raises(ConnectError, match="could not be delivered"):
            await conn.cancel(timeout=3)
        with pytest.raises(ConnectError):
            await conn.cancel()
        with pytest.raises(ConnectError):
            await conn.cancel(timeout=None)
        conn.link.send_cancel = None
        assert await conn.cancel() is True  # something runs
        assert asked[:2] == [3.0, 5.0]
        assert asked[2] > 1e6
        await task.stop()

    with_connection(work)


def test_two_cancel_at_once() -> None:
    """The second one finds the request under way."""

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        answers: list[Any] = []

        async def slow() -> None:
            with pytest.raises(PostgresError):
                await conn.fetchval("select slow")

        async def stop() -> None:
            answers.append(await conn.cancel())

        runtime.spawn(slow)
        await runtime.sleep(1)
        tasks = [runtime.spawn(stop), runtime.spawn(stop)]
        await runtime.sleep(1)
        assert answers == [True, True]
        del tasks

    with_connection(work, ModelServer(TABLE))


def test_the_key_for_what_runs() -> None:
    pair = Pair({"select 1": Answer("SELECT 1")})
    assert pair.engine.take_cancel(running=True) is None
    answered = [pair.engine.answered]
    pair.run(query("select 1"))
    answered.append(pair.engine.answered)
    assert answered == [None, pair.now]
    pair.backend.silent = True
    one = query("select 1")
    pair.run(one)
    assert pair.engine.take_cancel() is None
    key = pair.engine.take_cancel(running=True)
    assert key is not None
    assert pair.engine.take_cancel(running=True) is None
    later = query("select 1")
    pair.engine.submit(later)
    assert pair.send() == b""  # nothing new until it is delivered
    pair.engine.cancel_done()
    assert pair.send() != b""
    pair.pass_time(GRACE)
    assert not pair.engine.wants_cancel  # it is not repeated: its caller waits
    assert not one.finished
