"""Running a test under trio: nothing hangs for ever."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

import pgproto_trio as pg
from pgproto_trio import Connection
from tests.support.postgres import PostgresServer

__all__ = ["on_connection", "run"]

Scenario = Callable[[Connection], Awaitable[None]]


def run(main: Callable[[], Awaitable[None]], *, seconds: float = 20.0, clock: Any = None) -> None:
    """Run it, and fail if it hangs."""

    async def bounded() -> None:
        with trio.fail_after(seconds):
            await main()

    trio.run(bounded, clock=clock)


def on_connection(server: PostgresServer, scenario: Scenario, **overrides: Any) -> None:
    async def main() -> None:
        async with pg.connect(server.dsn(**overrides)) as conn:
            await scenario(conn)

    run(main)
