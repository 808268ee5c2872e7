"""COPY: parameters, row counts, files, columns, conditions, progress, and what hangs."""

from __future__ import annotations

import io
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pgproto import DataError, LocalProtocolError, Outcome, PostgresError, QueryTimeout, named
from pgproto_pytest.behaviour import Database, behaviour
from pgproto_pytest.driver import Driver

_SERIES = "copy (select n, 'v' || n from generate_series(1, 60000) n) to stdout"
# Each is text that something on its way could take for more than text.
_HOSTILE = (
    *("'", "''", "\\", "\\'", "'; drop table x; --", "E'\\''", "$1", "$$", ")", "/*", "--", "%s", "{}"),
    *('"', "\\.", "\\N", "a\tb\nc\rd", "é", "\u2028", "縗", "\u00a0", "\U0001f600", "", " ", "null"),
)


@behaviour
async def y_copy_out_counts(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        stream = conn.copy_out(_SERIES)
        sizes = []
        async for piece in stream:
            assert stream.rowcount is None
            assert piece.endswith(b"\n")
            sizes.append(len(piece))
        assert stream.rowcount == 60_000
        assert len(sizes) < 600
        assert max(sizes) < 2_000_000
        left = conn.copy_out(_SERIES)
        await anext(left)
        await left.aclose()
        assert left.rowcount is None
        failed = conn.copy_out("copy (select 1 / 0) to stdout")
        with pytest.raises(PostgresError):
            await anext(failed)
        assert failed.rowcount is None


@behaviour
async def y_copy_out_parameters(pg: Driver, db: Database) -> None:
    sql = "copy (select $1::text, n from generate_series($2::int4, $3) n where n <> all($4)) to stdout"
    async with pg.connect(db.dsn) as conn:
        rows = [piece async for piece in conn.copy_out(sql, "it's", 1, 3, [2])]
        assert b"".join(rows) == b"it's\t1\nit's\t3\n"
        query = named("copy (select :a::int4, :b::text) to stdout (format csv)", a=7, b=None)
        assert [piece async for piece in conn.copy_out(query)] == [b"7,\n"]
        for text in (
            "copy jobs to stdout",
            "select $1",
            "copy (select 1) to stdout (format $1)",
            "copy (select $1",
        ):
            with pytest.raises(LocalProtocolError, match=r"COPY \(query\)") as caught:
                conn.copy_out(text, 1)
            assert caught.value.outcome is Outcome.NOT_SENT
        with pytest.raises(LocalProtocolError, match="has its values"):
            conn.copy_out(query, 1)
        for values in ((), (1, 2), ("x",), (None, 1)):
            if values:
                with pytest.raises(DataError) as wrong:
                    await anext(conn.copy_out("copy (select $1::int4) to stdout", *values))
                assert wrong.value.outcome is Outcome.NOT_SENT
        with pytest.raises(PostgresError):
            await anext(conn.copy_out("copy (select $1 from no_such_table) to stdout", 1))
        assert await conn.fetchval("select 1") == 1


@behaviour
async def y_copy_out_hostile_values(pg: Driver, db: Database) -> None:
    """What is a literal in the text comes back as what was passed, whatever it looks like."""
    parts = ", ".join(f"${n}::text" for n in range(1, len(_HOSTILE) + 1))
    async with pg.connect(db.dsn) as conn:
        for standard in ("on", "off"):
            await conn.execute(f"set standard_conforming_strings = {standard}")
            sql = f"copy (select unnest(array[{parts}])) to stdout (format binary)"
            data = b"".join([piece async for piece in conn.copy_out(sql, *_HOSTILE)])
            expected = [text.encode() for text in _HOSTILE]
            tuples = [b"\0\1" + len(text).to_bytes(4, "big") + text for text in expected]
            assert data[19:] == b"".join(tuples) + b"\xff\xff"
            array = "copy (select unnest($1::text[])) to stdout (format binary)"
            assert data == b"".join([piece async for piece in conn.copy_out(array, list(_HOSTILE))])
            blob = bytes(range(256))
            shown = [
                piece async for piece in conn.copy_out("copy (select encode($1, 'hex')) to stdout", blob)
            ]
            assert shown == [blob.hex().encode() + b"\n"]
        with pytest.raises(LocalProtocolError, match="standard_conforming_strings"):
            await anext(conn.copy_out(r"copy (select '\', $1) to stdout --'", "x"))
        await conn.execute("set standard_conforming_strings = on")
        found = [piece async for piece in conn.copy_out(r"copy (select '\', $1::text) to stdout --'", "x")]
        assert found == [b"\\\\\tx\n"]
        for text in ("a\0b", "\ud800"):
            with pytest.raises(DataError):
                await anext(conn.copy_out("copy (select $1::text) to stdout", text))


@behaviour
async def y_copy_files(pg: Driver, db: Database) -> None:
    table = db.make_table("n int, v text")
    seen: list[int] = []
    async with pg.connect(db.dsn) as conn, pg.Pool(db.dsn, max_size=1) as pool:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows"
            for each in (conn, pool):
                for given in (path, str(path)):
                    assert await each.copy_out(_SERIES, to=given, progress=seen.append) == 60_000
                    size = path.stat().st_size
                    assert seen == sorted(set(seen))
                    assert seen[-1] == size
                    seen.clear()
                    assert (
                        await each.copy_in(f"copy {table} from stdin", given, progress=seen.append) == 60_000
                    )
                    assert seen == sorted(set(seen))
                    assert seen[-1] == size
                    assert len(seen) > 10
                    seen.clear()
            data = path.read_bytes()
            with io.FileIO(path, "wb") as raw:
                assert await conn.copy_out(_SERIES, to=raw) == 60_000
            assert path.read_bytes() == data
            memory = io.BytesIO()
            assert await pool.copy_out(_SERIES, to=memory) == 60_000
            assert memory.getvalue() == data
            pieces: list[bytes] = []
            assert await conn.copy_out(_SERIES, to=pieces.append) == 60_000
            assert b"".join(pieces) == data
            assert await conn.copy_out("copy (select where false) to stdout", to=path) == 0
            assert path.read_bytes() == b""
            for missing in (Path(folder) / "no" / "file", f"{folder}/no/file"):
                with pytest.raises(FileNotFoundError):
                    await conn.copy_out(_SERIES, to=missing)
                with pytest.raises(FileNotFoundError):
                    await conn.copy_in(f"copy {table} from stdin", missing)
            with pytest.raises(IsADirectoryError):
                await pool.copy_in(f"copy {table} from stdin", folder)
        assert await conn.fetchval(f"select count(*) from {table}") == 4 * 60_000


@behaviour
async def y_copy_misuse(pg: Driver, db: Database) -> None:
    table = db.make_table()
    copy = f"copy {table} from stdin"
    async with pg.connect(db.dsn) as conn:
        with tempfile.TemporaryFile("w+") as text:
            for wrong in (text, io.StringIO(), 7, None, "1\n2\n"):
                with pytest.raises(LocalProtocolError) as caught:
                    await conn.copy_in(copy, wrong)
                assert caught.value.outcome is Outcome.NOT_SENT
            for wrong in (text, io.StringIO(), 7):
                with pytest.raises(LocalProtocolError):
                    await conn.copy_out(_SERIES, to=wrong)
        for columns in ([], ["a", "a"], "a"):
            with pytest.raises(LocalProtocolError):
                await conn.copy_records(table, [(1,)], columns=columns)
        with pytest.raises(TypeError):
            await conn.copy_records(table, [(1,)], where=7)
        assert await conn.fetchval(f"select count(*) from {table}") == 0


@behaviour
async def y_copy_sink_raises(pg: Driver, db: Database) -> None:
    def write(piece: bytes) -> None:
        raise OSError("the disk is full")

    def progress(count: int) -> None:
        raise ValueError("no")

    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        with pytest.raises(OSError, match="disk is full"):
            await conn.copy_out(_SERIES, to=write)
        with pytest.raises(ValueError, match="no"):
            await conn.copy_out(_SERIES, to=[].append, progress=progress)
        with pytest.raises(ValueError, match="no"):
            await conn.copy_in(f"copy {table} from stdin", b"1\n", progress=progress)
        with pytest.raises(ValueError, match="no"):
            await conn.copy_records(table, [(1,)], progress=progress)
        assert await conn.fetchval(f"select count(*) from {table}") == 0


@behaviour
async def y_copy_hangs(pg: Driver, db: Database) -> None:
    """A sink or a source that hangs has the time of the call, and the connection goes on."""
    table = db.make_table()

    async def hang(piece: bytes) -> None:
        await other.fetchval("select pg_sleep(60)")

    async def source() -> AsyncIterator[bytes]:
        yield b"1\n"
        await other.fetchval("select pg_sleep(60)")

    async with pg.connect(db.dsn) as conn, pg.connect(db.dsn) as other:
        if not pg.asynchronous:
            with pytest.raises(LocalProtocolError, match="await"):
                await conn.copy_out(_SERIES, to=_unawaitable)
        else:
            with pytest.raises(QueryTimeout, match="not written") as caught:
                await conn.copy_out(_SERIES, to=hang, timeout=0.2)
            assert caught.value.outcome is Outcome.UNKNOWN
            with pytest.raises(QueryTimeout, match="gave nothing"):
                await conn.copy_in(f"copy {table} from stdin", source(), timeout=0.2)
            pieces = bytearray()

            async def take(piece: bytes) -> None:
                pieces.extend(piece)

            assert await conn.copy_out(_SERIES, to=take) == 60_000
            assert pieces.count(b"\n") == 60_000
        assert await conn.fetchval(f"select count(*) from {table}") == 0


class _Late:
    """Something to await, which is left alone without a warning."""

    def __await__(self) -> Any:
        raise AssertionError("nobody awaits it")


def _unawaitable(piece: bytes) -> _Late:
    return _Late()


@behaviour
async def y_copy_records_columns_and_condition(pg: Driver, db: Database) -> None:
    table = db.make_table('id int, "Name" text, double int generated always as (id * 2) stored, last bool')
    seen: list[int] = []
    async with pg.connect(db.dsn) as conn, pg.Pool(db.dsn) as pool:
        assert await conn.copy_records(table, [(1, "one", True)]) == 1
        assert await pool.copy_records(table, [{"id": 2, "Name": "two", "last": None}], schema="public") == 1
        assert await conn.copy_records(table, [], progress=seen.append) == 0
        assert seen == [0]
        many = ((n, str(n), False) for n in range(100_000))
        where = "id % 2 = 0 -- even"
        assert await conn.copy_records(table, many, where=where, progress=seen.append) == 50_000
        assert seen == sorted(seen)
        assert seen[-1] == 100_000
        assert len(seen) > 3
        assert await conn.fetchval(f"select sum(double) from {table} where last is not false") == 6
        with pytest.raises(PostgresError) as caught:
            await conn.copy_records("no_such_table", [(1,)])
        assert caught.value.sqlstate == "42P01"
        with pytest.raises(PostgresError) as caught:
            await conn.copy_records(table, [(1, "", None)], where="no_such_column")
        assert caught.value.sqlstate == "42703"
        await conn.execute(f"alter table {table} add column wide point")
        assert await conn.copy_records(table, [(3, "x", None, "(1,2)")], where="id = 3") == 1
