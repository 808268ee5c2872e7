"""The single timer of an asyncio transport, on the common event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

import pgproto_asyncio
from pgproto import QueryTimeout
from tests.support.postgres import PostgresServer


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_deadline_that_is_due_at_once(
    run: Callable[[Coroutine[Any, Any, None]], None], pg18: PostgresServer
) -> None:
    """uvloop gives no TimerHandle for a delay of 0: what it gives does not say when."""

    async def main() -> None:
        async with pgproto_asyncio.connect(pg18.dsn()) as conn:
            call = asyncio.create_task(conn.fetch("select pg_sleep(60)", timeout=50))
            await asyncio.sleep(0)  # it is submitted
            link, engine = conn.link, conn.engine
            (operation,) = engine.turns.all()
            engine.set_deadline(operation, engine.clock())
            link.flush()
            link.flush()
            with pytest.raises(QueryTimeout):
                await call

    run(main())
