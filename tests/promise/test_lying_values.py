"""A value that lies about its length: the value is stored, and nothing after it is read as a message."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from pgproto import Batch
from pgproto_pytest import Driver
from tests.support.owned import Owned


class Lying(bytes):
    """Bytes of which a length of 1 is told."""

    def __len__(self) -> int:
        return 1

    def __bytes__(self) -> bytes:
        return self

    def __contains__(self, item: object) -> bool:
        return False


class LyingText(str):
    """A str that says what its bytes are."""

    __slots__ = ()

    def encode(self, *args: Any, **kwargs: Any) -> Any:
        return Lying(hidden("text"))


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">i", len(body) + 4) + body


def hidden(text: str) -> bytes:
    """What would end a Bind after one byte of it, and then run a query of its own."""
    query = f"insert into smuggled values ('{text}')\0".encode()
    return b"v\0\0" + message(b"E", bytes(5)) + message(b"S", b"") + message(b"Q", query)


@pytest.mark.holds("L2")
@pytest.mark.parametrize("kind", ["bytea", "text"])
def test_what_hides_after_a_value_is_not_run(driver: Driver, owned: Owned, kind: str) -> None:
    value = Lying(hidden("bytea")) if kind == "bytea" else LyingText("v")
    plain = bytes.__getitem__(value, slice(None)) if isinstance(value, bytes) else "v"

    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            await conn.script(f"create temp table lies (a {kind}); create temp table smuggled (a text)")
            sql = "insert into lies values ($1)"
            await conn.execute(sql, value)
            await conn.executemany(sql, [(value,), (value,)])
            batch = Batch()
            batch.queue(sql, value)
            batch.queue(sql, value)
            await conn.send_batch(batch)
            await conn.copy_records("lies", [(value,)], columns=["a"])
            rows = await conn.fetch("select a from lies")
            assert [row[0] for row in rows] == [plain] * 6
            assert await conn.fetchval("select $1::text", LyingText("mine")) == "mine"
            data = Lying(b"1\n2\n")
            assert await conn.copy_in("copy smuggled from stdin", [data, data]) == 4
            assert await conn.fetchval("select count(*) from smuggled where length(a) > 1") == 0

    driver.run(scenario)
