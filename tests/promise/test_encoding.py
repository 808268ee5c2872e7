"""No text sets another client_encoding: what is set and reset in one call is never reported by the server."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pgproto import Batch, LocalProtocolError, Outcome
from pgproto_pytest import Driver
from tests.support.postgres import PostgresServer

LATIN1 = "set client_encoding to latin1"


async def batch(conn: Any) -> None:
    """The value would be stored as two letters, and the row read as one."""
    sent = Batch()
    items = [
        sent.queue(LATIN1),
        sent.queue("select chr(195) || chr(169)"),
        sent.queue("insert into encodings values ($1)", "\u00e9"),
        sent.queue("reset client_encoding"),
    ]
    try:
        await conn.send_batch(sent)
    finally:
        assert {item.outcome for item in items} == {Outcome.NOT_SENT}


async def drain(pieces: Any) -> None:
    async for _ in pieces:
        pass


async def drained(start: Callable[[], Any]) -> None:
    """An iterator is refused where it is made, or where it is asked."""
    await drain(start())


CALLS: dict[str, Callable[[Any], Coroutine[Any, Any, Any]]] = {
    "batch": batch,
    "script": lambda conn: conn.script(
        "begin; set local client_encoding to latin1; select chr(195) || chr(169); commit"
    ),
    "execute": lambda conn: conn.execute("set names 'latin1'"),
    "fetchval": lambda conn: conn.fetchval("select set_config('client_encoding', 'latin1', false)"),
    "prepare": lambda conn: conn.prepare(LATIN1),
    "stream": lambda conn: drained(
        lambda: conn.stream("select set_config('client_encoding', 'latin1', true)")
    ),
    "copy_in": lambda conn: conn.copy_in(f"{LATIN1}; copy encodings from stdin", [b"x\n"]),
    "copy_out": lambda conn: drained(lambda: conn.copy_out(f"{LATIN1}; copy encodings to stdout")),
    "executemany": lambda conn: conn.executemany(
        "select set_config('client_encoding', 'latin1', $1)", [(True,)]
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_text_that_sets_another_one_is_not_sent(driver: Driver, pg18: PostgresServer, name: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            await conn.script("create temporary table encodings (word text)")
            sent = conn.engine.channel.produced
            with pytest.raises(LocalProtocolError, match="pgproto speaks UTF8") as caught:
                await CALLS[name](conn)
            assert caught.value.outcome is Outcome.NOT_SENT
            assert conn.engine.channel.produced == sent
            assert await conn.fetchval("select count(*) from encodings") == 0

    driver.run(scenario)


def test_of_a_batch_whose_items_are_on_their_own_it_is_one_item(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            sent = Batch(atomic=False)
            refused, row = sent.queue(LATIN1), sent.queue("select chr(195) || chr(169)")
            await conn.send_batch(sent)
            assert isinstance(refused.error, LocalProtocolError)
            assert refused.outcome is Outcome.NOT_SENT
            assert row.rows[0][0] == "\u00c3\u00a9"

    driver.run(scenario)


def test_utf8_may_be_said(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            for sql in ("set names 'utf-8'", "set client_encoding to default", "reset client_encoding"):
                await conn.execute(sql)
                assert await conn.fetchval("select chr(195) || chr(169)") == "\u00c3\u00a9"
            await conn.script(
                "set client_encoding = 'UTF8'; select set_config('client_encoding', 'unicode', false)"
            )
            assert await conn.fetchval("show client_encoding") == "UTF8"

    driver.run(scenario)
