"""Cancelled while a statement runs, and closed at once: the cancel request is sent all the same."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any

import pytest

import pgproto_asyncio
from pgproto import QueryTimeout
from tests.support.postgres import PostgresServer

APP = "pgproto cancelled"


def run(main: Coroutine[Any, Any, None]) -> None:
    problems: list[str] = []

    async def bounded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(str(context)))
        async with asyncio.timeout(60):
            await main

    asyncio.run(bounded())
    assert not problems, problems


@pytest.mark.parametrize("timeout", [None, 0.05], ids=["cancelled", "timed out"])
def test_closing_does_not_leave_the_abandoned_statement_running(
    pg18: PostgresServer, timeout: float | None
) -> None:
    """The cancel request is on its way when `async with` ends: it must get there."""

    async def main() -> None:
        with contextlib.suppress(TimeoutError, QueryTimeout):
            async with (
                asyncio.timeout(None if timeout else 0.05),
                pgproto_asyncio.connect(pg18.dsn(), application_name=APP) as conn,
            ):
                await conn.fetch("select pg_sleep(60)", timeout=timeout)

    run(main())
    active = f"select count(*) from pg_stat_activity where application_name = '{APP}' and state = 'active'"
    deadline = time.monotonic() + 5
    while pg18.query(active) != [["0"]]:
        assert time.monotonic() < deadline, "it runs on for nobody"
