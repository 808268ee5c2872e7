"""Observers, traces and logs of the client, in virtual time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from pgproto import ConnectError, Exchange, Move, Observer, PoolObserver, PoolTimeout, TooManyWaiting, Wait
from pgproto.client import SlowQueries, logs
from pgproto.session import Batch
from pgproto.session.tracing import tracer
from pgproto.testing import ModelServer, ModelSession, VirtualRuntime, error_fields, fails, ok, rows_of
from pgproto.testing.answers import Answer
from pgproto.wire import ErrorResponse, Query

SCRIPT = {
    "select 1": rows_of(1),
    "insert": ok(),
    "insert $1": Answer("INSERT 0 1", types=[25]),
    "bad": fails("22012"),
}


def model(**options: Any) -> VirtualRuntime:
    return VirtualRuntime(ModelServer(dict(SCRIPT)), **options)


class Seen(PoolObserver):
    def __init__(self) -> None:
        self.told: list[str] = []
        self.ended_ones: list[Exchange] = []

    def submitted(self, exchange: Exchange) -> None:
        self.told.append(f"submitted {exchange.sql}")

    def ended(self, exchange: Exchange) -> None:
        self.told.append(f"ended {exchange.sql}")
        self.ended_ones.append(exchange)

    def moved(self, move: Move) -> None:
        self.told.append(f"{move.before or 'new'} to {move.after}")

    def queued(self, wait: Wait) -> None:
        self.told.append("waits")

    def served(self, wait: Wait) -> None:
        self.told.append(wait.state)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, "pgproto"):
        yield caplog


def lines(caplog: pytest.LogCaptureFixture, *, least: int = logging.INFO) -> list[tuple[str, str, str]]:
    return [
        (record.name, record.levelname, record.getMessage())
        for record in caplog.records
        if record.levelno >= least
    ]


# ---- Observers


def test_the_observers_of_a_connection() -> None:
    runtime = model()
    seen = Seen()

    async def main() -> None:
        async with runtime.connect(observers=seen) as conn:
            await conn.fetchval("select 1")
            assert seen.told == ["submitted select 1", "ended select 1"]
            session = seen.ended_ones[0].session
            assert (session.number, session.host, session.pid) == (
                conn.engine.session,
                conn.engine.host,
                conn.pid,
            )
            assert (session.user, session.database) == ("tester", "tester")

    runtime.run(main)


def test_a_database_that_was_named() -> None:
    runtime = model()
    seen = Seen()

    async def main() -> None:
        async with runtime.connect(dbname="shop", observers=[seen]) as conn:
            await conn.fetchval("select 1")
        assert seen.ended_ones[0].session.database == "shop"

    runtime.run(main)


def test_the_observers_of_a_pool() -> None:
    runtime = model()
    plain, seen = Observer(), Seen()

    async def main() -> None:
        async with runtime.Pool(observers=[plain, seen], min_size=0, max_size=1) as pool:
            await pool.fetchval("select 1")

    runtime.run(main)
    assert seen.told == [
        *("new to opening", "waits", "opening to idle", "idle to used", "granted"),
        *("submitted select 1", "ended select 1", "used to idle", "idle to closing", "closing to closed"),
    ]


class Raising(PoolObserver):
    def submitted(self, exchange: Exchange) -> None:
        raise ZeroDivisionError("an observer's own fault")

    ended = submitted

    def moved(self, move: Move) -> None:
        raise KeyError(move.after)


@pytest.mark.holds("O1")
def test_what_an_observer_raises_is_reported() -> None:
    runtime = model()

    async def main() -> None:
        async with runtime.Pool(observers=Raising(), min_size=0) as pool:
            assert await pool.fetchval("select 1") == 1

    runtime.run(main)
    assert {name for name, _ in runtime.reports} == {"an observer"}
    assert [type(error) for _, error in runtime.reports].count(ZeroDivisionError) == 2
    assert [type(error) for _, error in runtime.reports].count(KeyError) == 6


@pytest.mark.holds("O1")
def test_an_interrupt_out_of_an_observer_goes_up() -> None:
    class Interrupting(Observer):
        def submitted(self, exchange: Exchange) -> None:
            raise KeyboardInterrupt

    runtime = model()

    async def main() -> None:
        async with runtime.connect(observers=Interrupting()) as conn:
            with pytest.raises(KeyboardInterrupt):
                await conn.fetchval("select 1")

    runtime.run(main)
    assert runtime.reports == []


def test_what_is_no_observer_is_refused() -> None:
    runtime = model()
    wrong: Any = [print]
    with pytest.raises(TypeError, match="expected an Observer, not builtin_function_or_method"):
        runtime.connect(observers=wrong)
    with pytest.raises(TypeError, match="expected an Observer"):
        runtime.Pool(observers=wrong)


# ---- The trace


def test_a_trace_shows_each_message_and_no_secret() -> None:
    told: list[str] = []
    runtime = model()

    async def main() -> None:
        async with runtime.connect(trace=told.append, options="-c secret=hush", sslmode="disable") as conn:
            await conn.fetchval("select 1")

    runtime.run(main)
    assert told[0].startswith("F\t")
    assert '"options" ******' in told[0]
    assert "hush" not in "".join(told)
    assert any(line.startswith("F") and '"select 1"' in line for line in told)
    assert told[-1] == "F\t4\tTerminate"
    assert all("\n" not in line for line in told)


@pytest.mark.holds("O1")
def test_a_trace_that_raises_ends_and_is_reported_once() -> None:
    def broken(line: str) -> None:
        raise OSError("no space left")

    runtime = model()

    async def main() -> None:
        async with runtime.connect(trace=broken) as conn:
            assert await conn.fetchval("select 1") == 1

    runtime.run(main)
    assert [(name, str(error)) for name, error in runtime.reports] == [("the trace", "no space left")]


def test_a_trace_that_raises_and_nobody_to_tell() -> None:
    with pytest.raises(OSError, match="full"):
        tracer(1, full, None)("F", Query("select 1").encode(), False)


def full(session: int, line: str) -> None:
    raise OSError("full")


def test_without_files_a_trace_goes_to_a_function() -> None:
    with pytest.raises(TypeError, match="only a function"):
        model().connect(trace="path")


# ---- Logs


def test_a_connect_that_fails(log: pytest.LogCaptureFixture) -> None:
    runtime = VirtualRuntime({"here": ModelServer({})})

    async def main() -> None:
        with pytest.raises(ConnectError):
            await runtime.connect(host="nowhere.invalid", max_protocol_version="3.0")

    runtime.run(main)
    ((name, level, text),) = lines(log)
    assert (name, level) == ("pgproto.session", "INFO")
    assert text.startswith("connecting failed: ")


def test_what_is_no_connect_error_is_not_logged(log: pytest.LogCaptureFixture) -> None:
    logs.connect_failed(ZeroDivisionError())
    logs.waited_in_vain(ZeroDivisionError())
    assert lines(log) == []


def test_a_session_that_is_lost(log: pytest.LogCaptureFixture) -> None:
    sessions: list[ModelSession] = []
    runtime = VirtualRuntime(ModelServer(dict(SCRIPT), sessions.append))
    fatal = ErrorResponse({**error_fields("57P01", "bye", "FATAL"), "D": "of customer 4711"})

    async def main() -> None:
        async with runtime.connect() as conn:
            await conn.fetchval("select 1")
            sessions[0].out += fatal.encode()
            with pytest.raises(Exception, match="bye"):
                await conn.fetchval("select 1")
            number = conn.engine.session
        (found,) = lines(log)
        assert found[:2] == ("pgproto.session", "WARNING")
        assert found[2] == f"session {number} with localhost:5432 was lost: FATAL 57P01: bye"

    runtime.run(main)


def test_a_session_that_was_closed_is_not_lost(log: pytest.LogCaptureFixture) -> None:
    runtime = model()

    async def main() -> None:
        async with runtime.connect() as conn:
            await conn.fetchval("select 1")

    runtime.run(main)
    assert lines(log) == []


def test_a_transaction_that_is_left_open(log: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with runtime.Pool(min_size=0, max_size=1) as pool:
            async with pool.acquire() as conn:
                await conn.execute("begin")
                number = conn.engine.session
            assert pool.stats().retired["in_transaction"] == 1
        assert lines(log) == [
            (
                *("pgproto.pool", "WARNING"),
                f"connection 1 (session {number}) is retired: "
                "it was given back with an open transaction, which is rolled back",
            )
        ]

    runtime = VirtualRuntime(ModelServer({**SCRIPT, "begin": ok("BEGIN")}))
    runtime.run(main)


def test_the_usual_course_is_for_debugging(log: pytest.LogCaptureFixture) -> None:
    runtime = model()

    async def main() -> None:
        async with runtime.Pool(min_size=1, max_size=1) as pool:
            await pool.fetchval("select 1")

    runtime.run(main)
    assert lines(log) == []
    ((name, level, text),) = lines(log, least=logging.DEBUG)
    assert (name, level) == ("pgproto.pool", "DEBUG")
    assert text.endswith("is retired: closed")


def test_a_pool_without_a_server_and_its_callers(log: pytest.LogCaptureFixture) -> None:
    runtime = VirtualRuntime({"here": ModelServer(dict(SCRIPT))})

    async def main() -> None:
        pool = runtime.Pool(host="there.invalid", min_size=0, max_size=1, acquire_timeout=0.2)
        with pytest.raises((PoolTimeout, ConnectError)):
            await pool.fetchval("select 1")
        await pool.close()

    runtime.run(main)
    pool_lines = [line for line in lines(log) if line[0] == "pgproto.pool"]
    assert pool_lines[0][1] == "WARNING"
    assert pool_lines[0][2].startswith("connection 1 could not be opened: ")


def test_a_caller_that_waits_in_vain(log: pytest.LogCaptureFixture) -> None:
    runtime = model()

    async def main() -> None:
        async with (
            runtime.Pool(min_size=0, max_size=1, max_waiting=0) as pool,
            pool.acquire(),
        ):
            with pytest.raises(TooManyWaiting):
                await pool.fetchval("select 1")
            with pytest.raises(PoolTimeout):
                await pool.acquire(timeout=-1)

    runtime.run(main)
    assert lines(log)[0] == (
        *("pgproto.pool", "INFO"),
        "the pool's queue of waiting callers is full (1 connections: 1 used, 0 being opened; 0 others wait)",
    )


# ---- Slow queries


def slow(threshold: float, **options: Any) -> tuple[VirtualRuntime, SlowQueries]:
    return model(), SlowQueries(threshold, **options)


def test_slow_queries(log: pytest.LogCaptureFixture) -> None:
    runtime, observer = slow(0)

    async def main() -> None:
        async with runtime.connect(observers=observer) as conn:
            await conn.fetchval("select 1")
            await conn.execute("insert $1", "a secret")
            batch = Batch()
            batch.queue("insert $1", "hush")
            batch.queue("select 1")
            await conn.send_batch(batch)
            with pytest.raises(Exception, match="22012"):
                await conn.fetchval("bad")
            await conn.script("insert")
            number, pid = conn.engine.session, conn.pid
        head = f"session {number} (pid {pid})"
        found = [text.partition(" s in ")[2] for _, _, text in lines(log)]
        assert found == [
            f"{head}, SELECT 1: select 1",
            f"{head}, INSERT 0 1: insert $1",
            f"{head}, SELECT 1: insert $1;\nselect 1",
            f"{head}, DivisionByZero 22012, failed: bad",
            f"{head}, INSERT 0 1: insert",
        ]
        assert {(name, level) for name, level, _ in lines(log)} == {("pgproto.query", "WARNING")}
        record: Any = log.records[0]
        assert record.exchange.sql == "select 1"

    runtime.run(main)


def test_values_are_logged_on_request(log: pytest.LogCaptureFixture) -> None:
    class Hostile(str):
        def __repr__(self) -> str:
            raise ZeroDivisionError

    runtime, observer = slow(0, parameters=True)

    async def main() -> None:
        async with runtime.connect(observers=observer) as conn:
            await conn.execute("insert $1", "x" * 1000)
            await conn.execute("insert $1", Hostile("y"))
            await conn.script("insert")

    runtime.run(main)
    texts = [text for _, _, text in lines(log)]
    assert texts[0].endswith("insert $1 $1='" + "x" * 199 + "...")
    assert texts[1].endswith("insert $1 $1=<Hostile, whose repr raises ZeroDivisionError>")
    assert texts[2].endswith("insert ")


def test_quick_queries_and_a_logger_that_is_off(log: pytest.LogCaptureFixture) -> None:
    runtime, observer = slow(10.0)

    async def main() -> None:
        async with runtime.connect(observers=[observer, SlowQueries(0)]) as conn:
            logging.getLogger("pgproto.query").setLevel(logging.ERROR)
            try:
                await conn.fetchval("select 1")
            finally:
                logging.getLogger("pgproto.query").setLevel(logging.NOTSET)

    runtime.run(main)
    assert lines(log) == []


def test_an_error_that_is_none_of_ours(log: pytest.LogCaptureFixture) -> None:
    assert logs._ended_by(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert logs._said(None) == "NoneType"
    assert logs._said(ZeroDivisionError()) == "ZeroDivisionError"


@pytest.mark.parametrize("threshold", [-1, float("nan")])
def test_a_threshold_is_a_number_of_seconds(threshold: float) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        SlowQueries(threshold)


def test_an_attempt_that_the_pool_has_stopped_is_no_failure(log: pytest.LogCaptureFixture) -> None:
    runtime = model()

    async def forever(conn: Any) -> None:
        await runtime.sleep(100)

    async def main() -> None:
        pool = runtime.Pool(min_size=1, max_size=1, on_connect=forever)
        await pool.open(wait=False)
        await runtime.sleep(1)
        await pool.close(timeout=0)

    runtime.run(main)
    assert lines(log) == []


def test_without_a_configuration_nothing_is_printed() -> None:
    """Python prints warnings of loggers that nobody handles."""
    for name in ("pgproto.session", "pgproto.pool"):
        assert [type(handler) for handler in logging.getLogger(name).handlers] == [logging.NullHandler]
    assert logging.getLogger("pgproto.query").handlers == []  # it was asked for
