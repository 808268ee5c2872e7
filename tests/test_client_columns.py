"""Columns in virtual time: a connection's and a pool's, and those of a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pgproto import Batch, Column, DataError, Outcome
from pgproto.client import Connection, Pool
from pgproto.client.columnar import ColumnQueries
from pgproto.columns import ColumnBatch
from pgproto.session import Operation
from pgproto.testing import ModelServer, VirtualRuntime, copy_in, table
from tests.support.columns import plain
from tests.support.virtual import with_connection
from tests.support.virtual_pool import with_pool

NAMES = ["one", None, "three"]
ANSWERS = {
    "people": table({"id": 23, "name": 25}, [(1, "one"), (2, None), (3, "three")]),
    'SELECT "id", "name" FROM "people"': table({"id": 23, "name": 25}, []),
    'SELECT "name" FROM "public"."numbers"': table({"name": 23}, []),
    'COPY "people" ("id", "name") FROM STDIN (FORMAT binary)': copy_in("COPY 3"),
}


def names(description: tuple[Column, ...]) -> list[str]:
    return [column.name for column in description]


def server() -> ModelServer:
    return ModelServer(ANSWERS)


def raising(rows: int) -> None:
    raise KeyError("mine")


async def everything(where: Any) -> None:
    async def stream(sql: str, **options: Any) -> None:
        async for _ in where.stream_columns(sql, **options):
            raise AssertionError("progress comes first")

    batch = await where.fetch_columns("people")
    assert isinstance(batch, ColumnBatch)
    assert plain(batch["id"]) == [1, 2, 3]
    assert plain(batch["name"]) == NAMES
    parts = [part async for part in where.stream_columns("people", size=2)]
    assert [name for part in parts for name in plain(part["name"])] == NAMES
    seen: list[int] = []
    batch = await where.fetch_columns("people", progress=seen.append)
    assert plain(batch["id"]) == [1, 2, 3]
    assert seen[-1] == 3
    seen.clear()
    assert [len(part) async for part in where.stream_columns("people", size=2, progress=seen.append)] == [3]
    assert seen == [3]
    for call in (where.fetch_columns, stream):
        with pytest.raises(KeyError, match="mine"):
            await call("people", progress=raising)
    assert await where.copy_columns("people", batch) == 3
    with pytest.raises(DataError, match="2 columns of data for 1"):
        await where.copy_columns("numbers", batch, columns=["name"], schema="public")


def test_of_a_connection() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        await everything(conn)

    with_connection(work, server())


def test_of_a_pool() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        await everything(pool)

    with_pool(work, server())


def test_the_columns_of_what_was_not_run() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        prepared = await conn.prepare("people")
        assert names(prepared.description) == ["id", "name"]
        rows = conn.stream("people")
        assert names(rows.description) == []
        assert len([row async for row in rows]) == 3
        assert names(rows.description) == ["id", "name"]

    with_connection(work, server())


def test_what_a_client_has_to_add() -> None:
    bare = ColumnQueries()
    calls: list[Callable[[], object]] = [
        lambda: bare._run(Operation(), None),
        lambda: bare._pieces(Operation(), list, None),
        lambda: bare._copy_columns(None, None),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(NotImplementedError):
            call()


@pytest.mark.parametrize("atomic", [True, False])
def test_a_batch_of_which_no_object_can_be_made(atomic: bool) -> None:
    """The rows are there, but not what they should become: of an atomic batch that is the call's error."""

    def refusing(**row: object) -> str:
        raise ValueError("no")

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        batch = Batch(atomic=atomic)
        refused = batch.queue("people", into=refusing)
        taken = batch.queue("people")
        if atomic:
            with pytest.raises(DataError):
                await conn.send_batch(batch)
        else:
            await conn.send_batch(batch)
        assert isinstance(refused.error, DataError)
        assert refused.outcome is Outcome.COMMITTED
        assert [row["name"] for row in taken.rows] == NAMES

    with_connection(work, server())
