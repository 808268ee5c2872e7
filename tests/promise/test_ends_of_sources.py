"""Where the data comes from: only the source's own end is an end.  Whatever it raises, nothing is stored."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio

from pgproto import DataError, Outcome, PostgresError, QueryTimeout
from pgproto_pytest import Driver
from tests.support.drivers import DRIVERS
from tests.support.postgres import PostgresServer

RECORDS = 30_000  # enough for several chunks of 64 KiB before the end

_names = itertools.count()


@pytest.fixture(params=[each for each in DRIVERS if each.name != "blocking"], ids=repr)
def awaiting(request: pytest.FixtureRequest) -> Driver:
    """The adapters that have async sources."""
    chosen: Driver = request.param
    return chosen


class Disguised(BaseException):
    """No Exception, and nobody's end."""


def executemany(conn: Any, table: str, source: Any) -> Awaitable[int]:
    return conn.executemany(f"insert into {table} values ($1)", source)  # type: ignore[no-any-return]


def copy_records(conn: Any, table: str, source: Any) -> Awaitable[int]:
    return conn.copy_records(table, source, columns=["a"])  # type: ignore[no-any-return]


def copy_in(conn: Any, table: str, source: Any) -> Awaitable[int]:
    return conn.copy_in(f"copy {table} from stdin", source)  # type: ignore[no-any-return]


WAYS = pytest.mark.parametrize("way", [executemany, copy_records, copy_in])
Way = Callable[[Any, str, Any], Awaitable[int]]


def piece(way: Way, number: int) -> Any:
    """One record, or one chunk, for this way of storing."""
    return b"%d\n" % number if way is copy_in else (number,)


def pieces(way: Way) -> Iterator[Any]:
    """Good data, more than is collected before it is sent."""
    if way is not copy_in:
        yield from ((number,) for number in range(RECORDS))
    else:
        for start in range(0, RECORDS, 5000):
            yield b"".join(b"%d\n" % number for number in range(start, start + 5000))


async def foreign_cancellation(pg: Driver) -> None:
    """Raise what was meant for somebody else."""
    if pg.name == "asyncio":
        task = asyncio.ensure_future(asyncio.sleep(30))
        await asyncio.sleep(0)
        task.cancel()
        await task
    else:
        kept: list[trio.Cancelled] = []
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as error:
                kept.append(error)
        raise kept[0]


async def sleep(pg: Driver, seconds: float) -> None:
    if pg.name == "asyncio":
        await asyncio.sleep(seconds)
    else:
        await trio.sleep(seconds)


class Closing:
    """An async iterator that is no generator, and knows whether it was closed."""

    def __init__(
        self, pieces: AsyncIterator[Any], at_close: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.pieces = pieces
        self.at_close = at_close
        self.closed = 0

    def __aiter__(self) -> Closing:
        return self

    async def __anext__(self) -> Any:
        return await anext(self.pieces)

    async def aclose(self) -> None:
        self.closed += 1
        if self.at_close is not None:
            await self.at_close()


async def nothing_stored(conn: Any, table: str) -> None:
    assert await conn.fetchval(f"select count(*) from {table}") == 0
    assert conn.transaction_status == "I"


async def run(
    pg: Driver, server: PostgresServer, way: Way, source: Any, error: type[BaseException] | tuple[Any, ...]
) -> BaseException:
    table = f"ends_{next(_names)}"
    async with pg.connect(server.dsn()) as conn:
        await conn.execute(f"create temp table {table} (a int primary key check (a >= 0))")
        with pytest.raises(error) as caught:
            await way(conn, table, source)
        await nothing_stored(conn, table)
    found: BaseException = caught.value
    return found


@pytest.mark.holds("L3")
@WAYS
def test_a_cancellation_out_of_an_async_source_is_no_end(
    awaiting: Driver, pg18: PostgresServer, way: Way
) -> None:
    async def scenario(pg: Driver) -> None:
        async def source() -> AsyncIterator[Any]:
            for good in pieces(way):
                yield good
            await foreign_cancellation(pg)

        sources = Closing(source())
        await run(pg, pg18, way, sources, (asyncio.CancelledError, trio.Cancelled))
        assert sources.closed == 1

    awaiting.run(scenario)


@pytest.mark.holds("L3")
@pytest.mark.parametrize("error", [GeneratorExit, StopIteration, Disguised, KeyError])
@WAYS
def test_an_error_of_an_async_source_is_no_end(
    awaiting: Driver, pg18: PostgresServer, way: Way, error: type[BaseException]
) -> None:
    async def scenario(pg: Driver) -> None:
        async def source() -> AsyncIterator[Any]:
            for good in pieces(way):
                yield good
            raise error

        expected = RuntimeError if error is StopIteration else error  # Python's own rule for coroutines
        await run(pg, pg18, way, Closing(source()), expected)

    awaiting.run(scenario)


class Ending(int):
    """A value that pretends to be the end of what it is in."""

    error: type[BaseException] = StopIteration

    def __index__(self) -> int:
        raise self.error

    def __int__(self) -> int:
        raise self.error

    def __le__(self, other: object) -> bool:
        raise self.error

    __lt__ = __ge__ = __gt__ = __le__

    def __format__(self, spec: str) -> str:
        raise self.error


class Record(tuple[Any, ...]):
    """A record whose values cannot be had."""

    error: type[BaseException] = StopIteration

    def __iter__(self) -> Iterator[Any]:
        raise self.error

    def __len__(self) -> int:
        raise self.error

    def __getitem__(self, place: Any) -> Any:
        raise self.error


@pytest.mark.holds("L3")
@pytest.mark.parametrize("error", [GeneratorExit, StopIteration, StopAsyncIteration, Disguised])
@pytest.mark.parametrize("way", [executemany, copy_records])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_a_record_raises_is_no_end(
    driver: Driver, pg18: PostgresServer, way: Way, error: type[BaseException], asynchronous: bool
) -> None:
    async def scenario(pg: Driver) -> None:
        last = type("Last", (Record,), {"error": error})((7,))

        def source() -> Iterator[Any]:
            for number in range(RECORDS):
                yield (number,)
            yield last

        async def slow() -> AsyncIterator[Any]:
            for record in source():
                yield record

        await run(
            pg,
            pg18,
            way,
            slow() if asynchronous and pg.name != "blocking" else source(),
            (error, DataError),
        )

    driver.run(scenario)


@pytest.mark.holds("L3")
def test_a_file_that_raises_is_no_end(driver: Driver, pg18: PostgresServer) -> None:
    class File:
        reads = 0

        def read(self, size: int) -> bytes:
            self.reads += 1
            if self.reads > 3:
                raise StopIteration
            return b"".join(b"%d\n" % (self.reads * 1000 + number) for number in range(1000))

    async def scenario(pg: Driver) -> None:
        await run(pg, pg18, copy_in, File(), RuntimeError)

    driver.run(scenario)


@pytest.mark.holds("L3")
def test_none_is_no_end(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async def source() -> AsyncIterator[Any]:
            yield b"1\n"
            yield None
            yield b"2\n"

        given = [b"1\n", None, b"2\n"] if pg.name == "blocking" else source()
        await run(pg, pg18, copy_in, given, TypeError)

    driver.run(scenario)


# ---- An async source is closed where it is not read to its end


@pytest.mark.holds("L3")
@WAYS
@pytest.mark.parametrize("manner", ["closes", "raises", "hangs", "insists"])
def test_a_source_is_closed_early_and_hides_nothing(
    awaiting: Driver, pg18: PostgresServer, way: Way, manner: str
) -> None:
    async def scenario(pg: Driver) -> None:
        closed_at: list[float] = []

        async def at_close() -> None:
            closed_at.append(time.monotonic())
            await sleep(pg, 0)
            if manner == "raises":
                raise OSError("already closed")
            while manner in ("hangs", "insists"):
                try:
                    await sleep(pg, 1.5)
                except asyncio.CancelledError:
                    if manner == "hangs":
                        raise
                else:
                    return

        async def source() -> AsyncIterator[Any]:
            for good in pieces(way):
                yield good
            yield (b"-1\n" if way is copy_in else (-1,))  # which the server refuses
            while True:
                await sleep(pg, 0)
                yield piece(way, RECORDS)

        told: list[Any] = []
        if pg.name == "asyncio":
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        closing = Closing(source(), at_close)
        error = await run(pg, pg18, way, closing, Exception)
        assert "violates check constraint" in str(error)
        assert closing.closed == 1
        assert time.monotonic() - closed_at[0] < 1.4
        if pg.name == "asyncio":
            assert [str(each["exception"]) for each in told] == ["already closed"] * (manner == "raises")
            await asyncio.sleep(1.6 if manner == "insists" else 0)

    awaiting.run(scenario)


@pytest.mark.holds("L3")
@WAYS
def test_a_source_that_does_not_want_to_be_stopped(awaiting: Driver, pg18: PostgresServer, way: Way) -> None:
    """The server has refused, and the source waits on, whatever it is told: asyncio lets tasks do that."""

    async def scenario(pg: Driver) -> None:
        enough = asyncio.Event() if pg.name == "asyncio" else trio.Event()

        async def source() -> AsyncIterator[Any]:
            yield b"-1\n" if way is copy_in else (-1,)
            for good in pieces(way):
                yield good
            while not enough.is_set():
                try:
                    await enough.wait()
                except asyncio.CancelledError:
                    pass

        begun = time.monotonic()
        await run(pg, pg18, way, Closing(source()), Exception)
        assert time.monotonic() - begun < 5
        enough.set()
        await sleep(pg, 0.01)

    awaiting.run(scenario)


@pytest.mark.holds("L3")
@WAYS
def test_a_source_is_closed_when_its_caller_is_cancelled(
    awaiting: Driver, pg18: PostgresServer, way: Way
) -> None:
    async def scenario(pg: Driver) -> None:
        table = f"ends_{next(_names)}"
        asleep = asyncio.Event() if pg.name == "asyncio" else trio.Event()

        async def source() -> AsyncIterator[Any]:
            for good in pieces(way):
                yield good
            asleep.set()
            await sleep(pg, 30)

        closing = Closing(source())
        async with pg.connect(pg18.dsn()) as conn:
            await conn.execute(f"create temp table {table} (a int primary key)")
            if pg.name == "asyncio":
                task = asyncio.ensure_future(way(conn, table, closing))
                await asleep.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(way, conn, table, closing)
                    await asleep.wait()
                    nursery.cancel_scope.cancel()
            assert closing.closed == 1
            await nothing_stored(conn, table)

    awaiting.run(scenario)


@pytest.mark.holds("L3")
@WAYS
def test_a_source_that_was_read_to_its_end_is_left_alone(
    awaiting: Driver, pg18: PostgresServer, way: Way
) -> None:
    async def scenario(pg: Driver) -> None:
        async def source() -> AsyncIterator[Any]:
            for number in range(3):
                yield piece(way, number)

        closing = Closing(source())
        async with pg.connect(pg18.dsn()) as conn:
            await conn.execute("create temp table ends_whole (a int primary key)")
            assert await way(conn, "ends_whole", closing) == 3
        assert closing.closed == 0

    awaiting.run(scenario)


@pytest.mark.holds("L3")
def test_the_error_of_a_record_is_not_hidden(awaiting: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async def at_close() -> None:
            raise OSError("already closed")

        async def source() -> AsyncIterator[Any]:
            yield (1,)
            yield ("no number",)

        if pg.name == "asyncio":
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        closing = Closing(source(), at_close)
        await run(pg, pg18, executemany, closing, DataError)
        assert closing.closed == 1

    awaiting.run(scenario)


@pytest.mark.holds("T1")
@WAYS
def test_a_source_that_gives_nothing_is_not_waited_for(
    awaiting: Driver, pg18: PostgresServer, way: Way
) -> None:
    """`timeout` is the longest time without progress, whoever makes none."""
    closed: list[str] = []

    async def hanging() -> AsyncIterator[Any]:
        try:
            yield piece(way, 1)
            if awaiting.name == "trio":
                await trio.sleep_forever()
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append("source")

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(), command_timeout=0.2) as conn:
            table = f"hanging_{next(_names)}"
            await conn.script(f"create temp table {table} (a int4)")
            before = time.monotonic()
            with pytest.raises(QueryTimeout, match="the source gave nothing in time") as caught:
                await way(conn, table, hanging())
            assert time.monotonic() - before < 3
            assert caught.value.outcome is (Outcome.NOT_SENT if way is executemany else Outcome.NOT_COMMITTED)
            assert closed == ["source"]
            assert await conn.fetchval(f"select count(*) from {table}") == 0

    awaiting.run(scenario)


class Source:
    """What a caller would like to have back."""

    def __init__(self, way: Way) -> None:
        self._way = way

    def __iter__(self) -> Iterator[Any]:
        record: Any = b"x\n" if self._way is copy_in else ("x",)
        yield from [record] * 10


@WAYS
def test_a_source_is_let_go_of_with_its_error(driver: Driver, pg18: PostgresServer, way: Way) -> None:
    """An error has the frames of its way, and they have the source: the session must keep none of it."""

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            table = f"let_go_{next(_names)}"
            await conn.script(f"create temp table {table} (a text check (a <> 'x'))")
            source = Source(way)
            gone = weakref.ref(source)
            with pytest.raises(PostgresError, match="violates check constraint"):
                await way(conn, table, source)
            del source
            gc.collect()
            assert gone() is None

    driver.run(scenario)
