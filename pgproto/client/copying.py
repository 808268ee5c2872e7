"""COPY: the methods common to connection and pool, and the files that they read and write."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO, TypeAlias, overload

from pgproto.errors import Outcome, QueryTimeout, not_sent
from pgproto.session import CopyIn, CopyOut, ExecuteMany, Execution, NamedQuery, Resolve
from pgproto.session.copyquery import CopyQuery
from pgproto.session.copytarget import CopyTarget
from pgproto.session.deadlines import DEFAULT, Timeout
from pgproto.session.sources import chunks

from . import refusals
from .feeding import Chunks
from .pieces import Pieces
from .records import FileMode, NamedRecords, Path, Progress, Sink, Source, Writer
from .runtime import Link, Runtime
from .unique import Unique

__all__ = ["Copies", "CopyStream", "Reach"]

# How an iterator gets a link: its runtime, what returns the link, the seconds for each wait, what ends it.
Reach: TypeAlias = tuple[Runtime, Callable[[], Awaitable[Link]], float | None, Callable[[], None] | None]


class CopyStream(Pieces[bytes]):
    """The data of a COPY TO STDOUT as they arrive; made by `copy_out`.

    Each piece is what arrived in one read, of whole rows as the server has sent them.

    Args:
        operation: the COPY.
        progress: called with the number of bytes that have arrived.
        reach: how it gets a link.
    """

    def __init__(self, operation: CopyOut, progress: Progress | None, reach: Reach) -> None:
        runtime, start, seconds, release = reach

        async def begin() -> Link:
            link = await start()
            if operation.query is not None:
                operation.with_values(await _literal(link, operation.query, seconds))
            return link

        def take() -> list[bytes]:
            data = operation.take()
            if data and progress is not None:
                refusals.check_done(progress(operation.received))
            return data

        super().__init__(runtime, begin, operation, take, seconds, release)
        self._copy = operation

    @property
    def rowcount(self) -> int | None:
        """The number of rows, once all data were taken; None before, and if it has failed or was left."""
        return self._copy.rowcount if self._ended and self._error is None else None

    async def to(self, sink: Writer | Callable[[bytes], object]) -> int:
        """Write all data to a file or function; the number of rows.  See `copy_out`."""
        write: Callable[[bytes], object] = sink if callable(sink) else sink.write
        raw = hasattr(sink, "readall")  # an unbuffered file may take a part only
        async with self:
            async for piece in self:
                rest = piece
                while rest:
                    answer = write(rest)
                    if isinstance(answer, Awaitable):
                        answer = await self._in_time(answer)
                    else:
                        refusals.check_done(answer)
                    if raw and not isinstance(answer, int):
                        raise BlockingIOError("the file takes nothing now: it must be a blocking one")
                    rest = rest[answer:] if raw and isinstance(answer, int) else b""
        return self._copy.rowcount

    async def _in_time(self, work: Awaitable[object]) -> object:
        seconds = self._seconds
        answer: object = None
        async with self._runtime.bound(
            math.inf if seconds is None else self._runtime.now() + seconds
        ) as bound:
            answer = await work
        if bound.expired:
            late = QueryTimeout("the data were not written in time")
            late.outcome = Outcome.UNKNOWN
            raise late
        return answer


class Copies(Unique):
    """`copy_in`, `copy_records` and `copy_out`.

    Args of each:
        progress: a function that is called here, again and again, with what is done so far.  What it raises
            ends the COPY, as if the source had raised it.
        timeout: the longest time without progress, in seconds: of the server, or of an async source.  So
            long one piece may take to be written, too, and on a pool the wait for a connection.  A source,
            file or function that is not asynchronous cannot be interrupted.

    Files are read and written here, 64 KiB or so at a time, also on an event loop: that takes some
    microseconds on a disk.  For a slow file system use an asynchronous source or sink.
    """

    async def copy_in(
        self, sql: str, source: Source, *, progress: Progress | None = None, timeout: Timeout = DEFAULT
    ) -> int:
        """Run COPY ... FROM STDIN with data from a source; the number of rows.

        Args:
            sql: the COPY statement.
            source: the path of a file (a str or an object such as a pathlib.Path), bytes, a file open for
                reading bytes, or an iterable or async iterable of bytes.
            progress: called with the number of bytes that were handed over.
            timeout: see `Copies`.

        Raises:
            PostgresError: the server refused it; no row was stored.
            LocalProtocolError: the source cannot be one; nothing was sent.
            OSError: the file cannot be opened, and nothing was sent; or read, and no row was stored.
            Exception: the source's exception; no row was stored.
        """
        operation = CopyIn(sql)
        tell = None if progress is None else lambda: refusals.check_done(progress(operation.fed))
        with self._opened_file(_checked_source(source), "rb") as opened:
            chunked = opened if isinstance(opened, AsyncIterable) else chunks(opened)
            await self._feed(operation, lambda: chunked, timeout, tell)
        return operation.rowcount

    async def copy_records(
        self,
        table: str,
        records: NamedRecords,
        *,
        columns: Sequence[str] | None = None,
        schema: str = "",
        where: str = "",
        progress: Progress | None = None,
        timeout: Timeout = DEFAULT,
    ) -> int:
        """Store records in a table by COPY, in binary if all columns allow it; the number of rows.

        Args:
            table: the table's name; it is quoted, so case counts.
            records: an iterable or async iterable of records: sequences with a value per column, or mappings
                from the columns' names (other keys are ignored).
            columns: the columns' names; by default all in the table's order but generated ones, for which
                the catalog is asked.
            schema: the table's schema; "" to use the search path.
            where: a condition in SQL, as after WHERE: rows that do not meet it are not stored.
            progress: called with the number of records that were handed over.
            timeout: see `Copies`.

        Raises:
            DataError: a value does not fit its column; no row was stored.
            LocalProtocolError: there are no columns, or one of them twice; nothing was sent.
        """
        target = CopyTarget(table, columns, schema, where)
        return await self._copy_records(target, records, progress, timeout)

    @overload
    def copy_out(
        self,
        query: str | NamedQuery,
        *args: object,
        to: None = None,
        progress: Progress | None = None,
        timeout: Timeout = DEFAULT,
    ) -> CopyStream: ...

    @overload
    def copy_out(
        self,
        query: str | NamedQuery,
        *args: object,
        to: Sink,
        progress: Progress | None = None,
        timeout: Timeout = DEFAULT,
    ) -> Coroutine[Any, Any, int]: ...

    def copy_out(
        self,
        query: str | NamedQuery,
        *args: object,
        to: Sink | None = None,
        progress: Progress | None = None,
        timeout: Timeout = DEFAULT,
    ) -> CopyStream | Coroutine[Any, Any, int]:
        """Run COPY ... TO STDOUT; iterate over its data, in bounded memory, or have them written.

        Nothing else can use the connection until the iteration has ended.  Then `rowcount` of the iterator
        is the number of rows.

        Args:
            query: the COPY statement.  If it is COPY (query) TO STDOUT, the query may have parameters.
            args: their values.  They become literals of the types that the server tells for the query.
            to: where the data are written: the path of a file, which is overwritten; a file open for writing
                bytes; or a function of bytes.  `write` and the function may be asynchronous.  The result is
                the number of rows then.  After an error a part of the data has been written.
            progress: called with the number of bytes that have arrived.
            timeout: see `Copies`.

        Raises:
            LocalProtocolError: a text that takes no parameters has some, or nothing can be written to `to`;
                nothing was sent.
            DataError: a value does not fit its parameter; the COPY was not sent.
            OSError: the file cannot be opened, and nothing was sent; or written.
        """
        if not isinstance(query, NamedQuery):
            operation = CopyOut(query, args)
        elif args:
            raise not_sent("a query of `named` has its values already", query.sql)
        else:
            operation = CopyOut(query.sql, query.args)
        stream = CopyStream(operation, progress, self._reach(timeout))
        return stream if to is None else self._copy_to(stream, _checked_sink(to))

    async def _copy_to(self, stream: CopyStream, sink: Sink) -> int:
        with self._opened_file(sink, "wb") as opened:
            return await stream.to(opened)

    @contextmanager
    def _opened_file(self, given: Any, mode: FileMode) -> Iterator[Any]:
        """What was given, or the file whose path it is, which is closed at the end."""
        if _is_path(given):
            with self._open_file(given, mode) as opened:
                yield opened
        else:
            yield given

    def _open_file(self, path: str | Path, mode: FileMode) -> BinaryIO:
        raise NotImplementedError

    def _reach(self, timeout: Timeout) -> Reach:
        raise NotImplementedError

    def _feed(
        self,
        operation: CopyIn | ExecuteMany,
        source: Callable[[], Chunks],
        timeout: Timeout,
        tell: Callable[[], object] | None = None,
    ) -> Awaitable[None]:
        raise NotImplementedError

    def _copy_records(
        self, target: CopyTarget, records: NamedRecords, progress: Progress | None, timeout: Timeout
    ) -> Awaitable[int]:
        raise NotImplementedError


async def _literal(link: Link, query: CopyQuery, seconds: float | None) -> str:
    """The text of a COPY with its values in it."""
    query.check(link.engine.parameters.get("standard_conforming_strings"))
    while True:
        resolve = Resolve(query.query)
        await link.run(resolve, seconds)
        assert resolve.statement is not None
        if query.encode(resolve.statement):
            break
        link.alone(partial(link.engine.forget, resolve.statement))
    names = query.names()
    await link.run(Execution([names]), seconds)
    return query.text(names)


def _is_path(given: object) -> bool:
    return isinstance(given, str) or hasattr(type(given), "__fspath__")


def _checked_source(source: Source) -> Source:
    """Refuse what cannot be a source before anything is sent."""
    if isinstance(source, str) and ("\n" in source or "\0" in source):
        raise not_sent("a str is the path of a file: COPY data are bytes")
    if hasattr(source, "read"):
        _check_binary(source)
    elif not (_is_path(source) or isinstance(source, Iterable | AsyncIterable)):
        raise not_sent(f"COPY data cannot come from {type(source).__name__}")
    return source


def _checked_sink(sink: Sink) -> Sink:
    """Refuse what cannot be a sink before anything is sent."""
    if hasattr(sink, "write"):
        _check_binary(sink)
    elif not (_is_path(sink) or callable(sink)):
        raise not_sent(f"COPY data cannot be written to {type(sink).__name__}")
    return sink


def _check_binary(file: object) -> None:
    if hasattr(file, "encoding"):
        raise not_sent("the file is open for text: COPY data are bytes")
