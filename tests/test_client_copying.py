"""COPY of the client, in virtual time: sinks, sources, parameters, progress."""

from __future__ import annotations

import io
import math
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pgproto import DataError, LocalProtocolError, Outcome, QueryTimeout, named
from pgproto.client import Connection
from pgproto.client.copying import Copies
from pgproto.client.refusals import check_done
from pgproto.session.copyquery import CopyQuery
from pgproto.session.copytarget import CopyTarget
from pgproto.testing import Answer, ModelServer, VirtualRuntime, copy_in, copy_out, table
from tests.support.virtual import with_connection
from tests.support.virtual_answers import TABLE, usable

INT4, TEXT, NAME, OID = 23, 25, 19, 26
QUERY = "copy (select $1) to stdout"
NAMES = CopyQuery(QUERY, (1,)).names().sql
LISTING = CopyTarget("t", None).listing().sql


def server(**more: Answer) -> ModelServer:
    names = table({"oid": OID, "name": TEXT}, [(INT4, "pg_catalog.int4")])
    return ModelServer(
        {
            **TABLE,
            "select $1": Answer("SELECT 0", columns=[("x", INT4)], types=[INT4]),
            NAMES: Answer(names.tag, columns=names.columns, rows=names.rows, types=[1028]),
            "copy (select ('7'::pg_catalog.int4)) to stdout": copy_out(b"7\n"),
            LISTING: Answer("SELECT 1", columns=[("attname", NAME)], rows=[[b"a"]], types=[TEXT]),
            'COPY "t" ("a") FROM STDIN (FORMAT binary) WHERE (a > 1\n)': copy_in("COPY 1"),
        }
    )


def test_the_number_of_rows() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        stream = conn.copy_out("copy out")
        counts = [stream.rowcount]
        assert [piece async for piece in stream] == [b"a\nb\n"]
        counts.append(stream.rowcount)
        assert counts == [None, 2]
        left = conn.copy_out("copy out")
        await left.aclose()
        assert left.rowcount is None

    with_connection(work, server())


def test_sinks() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        file = io.BytesIO()
        taken: list[bytes] = []
        seen: list[int] = []
        assert await conn.copy_out("copy out", to=file, progress=seen.append) == 2
        assert (file.getvalue(), seen) == (b"a\nb\n", [4])
        assert await conn.copy_out("copy out", to=taken.append) == 2
        assert taken == [b"a\nb\n"]

        class Slow:
            async def write(self, data: bytes) -> int:
                await runtime.sleep(1)
                taken.append(data)
                return 1  # only an unbuffered file may take a part

        assert await conn.copy_out("copy out", to=Slow(), timeout=None) == 2
        assert await conn.copy_out("copy out", to=Slow()) == 2
        assert taken == [b"a\nb\n"] * 3

    with_connection(work, server())


def test_an_unbuffered_file_takes_parts() -> None:
    class Raw(io.RawIOBase):
        def __init__(self, *answers: int | None) -> None:
            self.answers = list(answers)
            self.taken: list[bytes] = []

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int | None:
            answer = self.answers.pop(0)
            self.taken.append(bytes(data[: answer or 0]))
            return answer

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        raw = Raw(1, 2, 1)
        assert await conn.copy_out("copy out", to=raw) == 2
        assert raw.taken == [b"a", b"\nb", b"\n"]
        with pytest.raises(BlockingIOError):
            await conn.copy_out("copy out", to=Raw(2, None))
        assert await usable(conn)

    with_connection(work, server())


def test_functions_of_which_nothing_has_run() -> None:
    """What they return would be dropped, and the data with it."""

    def generator(_: object) -> Iterator[None]:
        yield None

    async def agenerator(_: object) -> AsyncIterator[None]:
        yield None

    async def coroutine(_: object) -> None: ...

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        for sink in (generator, agenerator):
            with pytest.raises(LocalProtocolError, match="generator, of which nothing has run"):
                await conn.copy_out("copy out", to=sink)
        tell: Any
        for tell in (coroutine, generator, agenerator):
            with pytest.raises(LocalProtocolError, match=r"nobody awaits it|nothing has run"):
                await conn.copy_out("copy out", to=io.BytesIO(), progress=tell)
        assert await usable(conn)

    with_connection(work, server())


def test_a_sink_that_hangs() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async def hang(data: bytes) -> None:
            await runtime.sleep(1000)

        begun = runtime.now()
        with pytest.raises(QueryTimeout, match="not written in time") as caught:
            await conn.copy_out("copy out", to=hang, timeout=5)
        assert caught.value.outcome is Outcome.UNKNOWN
        assert runtime.now() - begun < 7
        assert await usable(conn)

    with_connection(work, server())


def test_files_by_their_paths() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        kept = io.BytesIO()
        kept.close = lambda: None  # type: ignore[method-assign]
        runtime.files = {Path("out"): kept, "in": io.BytesIO(b"1\n2\n")}
        assert await conn.copy_out("copy out", to=Path("out")) == 2
        assert kept.getvalue() == b"a\nb\n"
        seen: list[int] = []
        assert await conn.copy_in("copy in", "in", progress=seen.append) == 2
        assert seen == [4]
        assert runtime.files["in"].closed
        with pytest.raises(FileNotFoundError):
            await conn.copy_out("copy out", to="nowhere")
        with pytest.raises(FileNotFoundError):
            await conn.copy_in("copy in", Path("nowhere"))
        assert await usable(conn)

    with_connection(work, server())


def test_a_pool_opens_files_and_borrows() -> None:
    runtime = VirtualRuntime(server())
    runtime.files = {"in": io.BytesIO(b"1\n2\n")}

    async def main() -> None:
        async with runtime.Pool(max_size=1) as pool:
            assert await pool.copy_in("copy in", "in") == 2
            taken: list[bytes] = []
            assert await pool.copy_out(QUERY, 7, to=taken.append) == 1
            assert taken == [b"7\n"]
            assert await pool.copy_records("t", [(1,)], columns=["a"]) == 3
            with pytest.raises(LocalProtocolError):
                await pool.copy_in("copy in", 7)  # type: ignore[arg-type]
            assert await pool.fetchval("select 1") == 1

    runtime.run(main)


def test_misuse_sends_nothing() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        before = conn.engine.channel.produced
        wrong: Any
        for wrong in (io.StringIO(), 7, None, "1\n", "\0"):
            with pytest.raises(LocalProtocolError) as caught:
                await conn.copy_in("copy in", wrong)
            assert caught.value.outcome is Outcome.NOT_SENT
        for wrong in (io.StringIO(), 7):
            with pytest.raises(LocalProtocolError) as caught:
                conn.copy_out("copy out", to=wrong)
            assert caught.value.outcome is Outcome.NOT_SENT
        with pytest.raises(LocalProtocolError, match="has its values"):
            conn.copy_out(named("copy (select :a) to stdout", a=1), 2)
        assert conn.engine.channel.produced == before
        check_done(None)
        later = usable(conn)
        with pytest.raises(LocalProtocolError, match="nobody awaits it"):
            check_done(later)
        later.close()

    with_connection(work, server())


def test_parameters() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        assert [piece async for piece in conn.copy_out(QUERY, 7)] == [b"7\n"]
        query = named("copy (select :a) to stdout", a=7)
        assert [piece async for piece in conn.copy_out(query)] == [b"7\n"]
        stream = conn.copy_out(QUERY, "x")
        for _ in range(2):
            with pytest.raises(DataError, match="type int4") as caught:
                await anext(stream)
        assert caught.value.outcome is Outcome.NOT_SENT
        assert await usable(conn)

    with_connection(work, server())


def test_columns_and_condition_of_records() -> None:
    async def later() -> AsyncIterator[tuple[int]]:
        yield (1,)
        yield (2,)

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        seen: list[int] = []
        assert await conn.copy_records("t", [(1,), (2,)], progress=seen.append) == 3
        assert await conn.copy_records("t", later(), where="a > 1", progress=seen.append) == 1
        assert seen == [2, 2]

    with_connection(work, server())


def test_what_a_connection_and_a_pool_have_to_say() -> None:
    bare = Copies()
    calls: list[Callable[[], object]] = [
        lambda: bare._open_file("x", "rb"),
        lambda: bare._reach(None),
        lambda: bare._feed(None, None, None),  # type: ignore[arg-type]
        lambda: bare._copy_records(None, None, None, None),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(NotImplementedError):
            call()


def test_a_chunk_that_was_never_given_is_no_end() -> None:
    """A runtime whose scope swallows the deadline, and does not say so, must not end the COPY as complete."""

    class Swallowing:
        expired = False

        async def __aenter__(self) -> Swallowing:
            return self

        async def __aexit__(self, kind: object, error: object, trace: object) -> bool:
            return isinstance(error, KeyError)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"a\n"
        raise KeyError("the deadline")

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        own = runtime.bound

        def bound(deadline: float) -> Any:  # the reader's own scope has no deadline
            return own(deadline) if deadline == math.inf else Swallowing()

        runtime.bound = bound  # type: ignore[method-assign]
        with pytest.raises(QueryTimeout, match="the source gave nothing") as caught:
            await conn.copy_in("copy in", chunks(), timeout=5.0)
        runtime.bound = own  # type: ignore[method-assign]
        assert caught.value.outcome is Outcome.NOT_COMMITTED
        assert await usable(conn)

    model = server()
    with_connection(work, model)
    assert "copy in" not in model.committed
