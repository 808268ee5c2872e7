"""Tools for the tests of applications, adapters and drivers: servers in memory, the client in virtual time.

    from pgproto.testing import ModelServer, VirtualRuntime, rows_of

    server = ModelServer({"select 1": rows_of(1)})
    runtime = VirtualRuntime(server)

    async def main() -> None:
        async with runtime.Pool(max_size=2) as pool:
            assert await pool.fetchval("select 1") == 1

    runtime.run(main)

Nothing here opens a socket, sleeps, or is random.  A `ScriptedServer` sends what a test's script says; a
`ModelServer` answers from a table, and has transactions.  Their sessions take bytes and collect answers, so
they can serve a driver on any transport; `Faults` describe the faults of `VirtualRuntime`'s network.
"""

from __future__ import annotations

from .answers import Answer, copy_in, copy_out, error_fields, fails, ok, rows_of, table
from .model import ModelServer, ModelSession
from .network import Faults, Server, Session
from .runtime import VirtualRuntime
from .scripted import Peer, Script, ScriptedServer, ScriptError, error, fatal
from .virtual import Cancelled, Deadlock, Event, Run, Scope, Task, Timer

__all__ = [
    "Answer",
    "Cancelled",
    "Deadlock",
    "Event",
    "Faults",
    "ModelServer",
    "ModelSession",
    "Peer",
    "Run",
    "Scope",
    "Script",
    "ScriptError",
    "ScriptedServer",
    "Server",
    "Session",
    "Task",
    "Timer",
    "VirtualRuntime",
    "copy_in",
    "copy_out",
    "error",
    "error_fields",
    "fails",
    "fatal",
    "ok",
    "rows_of",
    "table",
]
