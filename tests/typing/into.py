"""What mypy and pyright infer for every form of `into=`.

`assert_type` is an error where they infer anything else.  Nothing here is run.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any, NamedTuple, NewType, TypedDict, assert_type
from uuid import UUID

import attrs

import pgproto_anyio
import pgproto_asyncio
import pgproto_blocking
import pgproto_trio
from pgproto import Batch, Column, QueuedQuery, Row, RowMaker
from pgproto.client import PreparedStatement
from pgproto.client.blocking import PreparedStatement as BlockingStatement


@dataclass
class Record:
    """A dataclass."""

    id: int
    name: str


class Pair(NamedTuple):
    """A named tuple."""

    id: int
    name: str


class Keys(TypedDict):
    """A typed dict."""

    id: int
    name: str


@attrs.define
class Attrs:
    """An attrs class."""

    id: int
    name: str


class Model:
    """To a type checker, a pydantic model is a class like this one."""

    def __init__(self, *, id: int, name: str) -> None:
        self.id = id
        self.name = name


class Mood(enum.Enum):
    """An enum of one column."""

    HAPPY = "happy"


UserId = NewType("UserId", int)


def function(id: int, name: str) -> complex:
    """A function of the columns."""
    return complex(id, len(name))


def prepare(columns: tuple[Column, ...]) -> Callable[[tuple[Any, ...]], frozenset[str]]:
    """What a maker of one's own does with the columns."""
    return lambda values: frozenset(column.name for column in columns if values)


maker = RowMaker(prepare)


async def fetch(conn: pgproto_asyncio.Connection) -> None:
    """Many rows."""
    assert_type(await conn.fetch("select"), list[Row])
    assert_type(await conn.fetch("select", 1, "x"), list[Row])
    assert_type(await conn.fetch("select", into=None), list[Row])
    assert_type(await conn.fetch("select", into=Row), list[Row])
    assert_type(await conn.fetch("select", into=Record), list[Record])
    assert_type(await conn.fetch("select", 1, "x", into=Record, timeout=5), list[Record])
    assert_type(await conn.fetch("select", into=Pair), list[Pair])
    assert_type(await conn.fetch("select", into=Keys), list[Keys])
    assert_type(await conn.fetch("select", into=Attrs), list[Attrs])
    assert_type(await conn.fetch("select", into=Model), list[Model])
    assert_type(await conn.fetch("select", into=SimpleNamespace), list[SimpleNamespace])
    assert_type(await conn.fetch("select", into=dict), list[dict[Any, Any]])
    assert_type(await conn.fetch("select", into=dict[str, Any]), list[dict[str, Any]])
    assert_type(await conn.fetch("select", into=tuple[Any, ...]), list[tuple[Any, ...]])
    assert_type(await conn.fetch("select", into=tuple[int, str]), list[tuple[int, str]])
    assert_type(await conn.fetch("select", into=int), list[int])
    assert_type(await conn.fetch("select", into=str), list[str])
    assert_type(await conn.fetch("select", into=bytes), list[bytes])
    assert_type(await conn.fetch("select", into=datetime), list[datetime])
    assert_type(await conn.fetch("select", into=UUID), list[UUID])
    assert_type(await conn.fetch("select", into=list[int]), list[list[int]])
    assert_type(await conn.fetch("select", into=Mood), list[Mood])
    assert_type(await conn.fetch("select", into=function), list[complex])
    assert_type(await conn.fetch("select", into=maker), list[frozenset[str]])


async def new_type(conn: pgproto_asyncio.Connection) -> list[UserId]:
    """Pyright takes a NewType for a function of Any."""
    return await conn.fetch("select", into=UserId)


async def fetchrow(conn: pgproto_asyncio.Connection) -> None:
    """One row, or none."""
    assert_type(await conn.fetchrow("select"), Row | None)
    assert_type(await conn.fetchrow("select", into=Record), Record | None)
    assert_type(await conn.fetchrow("select", into=Keys), Keys | None)
    assert_type(await conn.fetchrow("select", into=int), int | None)
    assert_type(await conn.fetchrow("select", into=maker), frozenset[str] | None)


async def stream(conn: pgproto_asyncio.Connection) -> None:
    """Rows as they arrive."""
    async for row in conn.stream("select"):
        assert_type(row, Row)
    async for record in conn.stream("select", into=Record):
        assert_type(record, Record)
    numbers = conn.stream("select", into=int)
    assert_type(await anext(numbers), int)
    assert_type(numbers.description, tuple[Column, ...])


async def prepared(statement: PreparedStatement) -> None:
    """A prepared statement."""
    assert_type(await statement.fetch(1), list[Row])
    assert_type(await statement.fetch(1, into=Record), list[Record])
    assert_type(await statement.fetchrow(1), Row | None)
    assert_type(await statement.fetchrow(1, into=Record), Record | None)


def batch() -> None:
    """The items of a batch."""
    batch = Batch()
    plain = batch.queue("select")
    assert_type(plain, QueuedQuery[Row])
    assert_type(plain.rows, list[Row])
    records = batch.queue("select", 1, into=Record)
    assert_type(records, QueuedQuery[Record])
    assert_type(records.rows, list[Record])
    assert_type(batch.queue("select", into=int).rows, list[int])


async def pools(pool: pgproto_asyncio.Pool, trio: pgproto_trio.Pool, anyio: pgproto_anyio.Pool) -> None:
    """A pool."""
    assert_type(await pool.fetch("select"), list[Row])
    assert_type(await pool.fetch("select", into=Record), list[Record])
    assert_type(await pool.fetchrow("select", into=Record), Record | None)
    assert_type(await trio.fetch("select", into=Record), list[Record])
    assert_type(await anyio.fetch("select", into=Record), list[Record])


def blocking(
    conn: pgproto_blocking.Connection, pool: pgproto_blocking.Pool, statement: BlockingStatement
) -> None:
    """The blocking client."""
    assert_type(conn.fetch("select"), list[Row])
    assert_type(conn.fetch("select", into=Record), list[Record])
    assert_type(conn.fetchrow("select", into=Record), Record | None)
    assert_type(pool.fetch("select", into=Record), list[Record])
    assert_type(statement.fetch(into=Record), list[Record])
    for record in conn.stream("select", into=Record):
        assert_type(record, Record)
