"""A client in virtual time and a model server, for the tests of the client."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from pgproto.client import Connection
from pgproto.testing import (
    Faults,
    ModelServer,
    ModelSession,
    ScriptedServer,
    VirtualRuntime,
    fails,
    ok,
    rows_of,
    table,
)
from pgproto.wire import (
    Parse,
    Query,
)

TABLE = {
    "select 1": rows_of(1),
    "select none": rows_of(),
    "select slow": rows_of(1, delay=100.0),
    "select three": rows_of(1, 2, 3),
    "insert": ok("INSERT 0 1"),
    "bad": fails("22012"),
    "set x = 1": ok("SET"),
    "say": table({"a": 25, "b": 16, "c": 17}, [("x", True, b"\0\1"), (None, False, b"")]),
}


def world(
    server: ModelServer | ScriptedServer | None = None, faults: list[Faults] | None = None
) -> VirtualRuntime:
    return VirtualRuntime(ModelServer(TABLE) if server is None else server, faults or ())


def with_connection(
    work: Callable[[VirtualRuntime, Connection], Coroutine[Any, Any, Any]],
    server: ModelServer | ScriptedServer | None = None,
    **options: Any,
) -> VirtualRuntime:
    """Run something with a connection; nothing may be reported."""
    runtime = world(server)

    async def main() -> None:
        async with runtime.connect(**options) as conn:
            await work(runtime, conn)
        assert conn.closed

    runtime.run(main)
    assert runtime.reports == []
    return runtime


def queries(session: ModelSession) -> list[str]:
    """The texts that it has heard."""
    return [each.query for each in session.heard if isinstance(each, Query | Parse)]
