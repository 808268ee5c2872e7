"""A pool in virtual time and a model server, for the tests of the client's pool."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from pgproto.client import Pool
from pgproto.testing import (
    Answer,
    Faults,
    ModelServer,
    ModelSession,
    ScriptedServer,
    VirtualRuntime,
    copy_in,
    error_fields,
    fatal,
    ok,
    rows_of,
)

from . import virtual_answers

TABLE = {
    **virtual_answers.TABLE,
    "select many": rows_of(*range(100)),
    "set x = 1": ok("SET"),
    "flaky": Answer("INSERT 0 1", error=error_fields("40001"), spares=0),
    'COPY "t" ("a") FROM STDIN (FORMAT binary)': copy_in("COPY 1"),
}

Work = Callable[[VirtualRuntime, Pool], Coroutine[Any, Any, None]]


def with_pool(
    work: Work,
    server: ModelServer | ScriptedServer | None = None,
    faults: list[Faults] | None = None,
    **options: Any,
) -> VirtualRuntime:
    """Run something with a pool; at its end no connection is left."""
    server = ModelServer(TABLE) if server is None else server
    runtime = VirtualRuntime(server, faults or ())

    async def main() -> None:
        async with runtime.Pool(**options) as pool:
            await work(runtime, pool)
        assert pool.stats().size == 0

    runtime.run(main)
    if isinstance(server, ModelServer):
        assert all(session.ended or session.silent for session in server.sessions)
    return runtime


def kill(session: ModelSession) -> None:
    """The server ends a session that is idle."""
    session.out += fatal("57P01").encode()
    session.ended = "fin"
    assert session.on_output is not None
    session.on_output()
