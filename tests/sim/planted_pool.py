"""Planted bugs of the pool and of its asyncio driver: slots, waiters, cancellation, health, back-off."""

from __future__ import annotations

from typing import Final

from pgproto.client import jobs, steps
from pgproto.client.driver import Driver
from pgproto.pool.backoff import Backoff
from pgproto.pool.fleet import Fleet
from pgproto.pool.machine import PoolMachine
from pgproto.session.connect import Connector
from pgproto_asyncio.link import Link

from .planted_edit import Bug, Edit

__all__ = ["BUGS"]

_SLOTS: Final = (
    Bug(
        "pgx-679",
        "pgx #679, #2425: a slot is free before its connection is closed: more connections than the maximum",
        [Edit(PoolMachine, "_open_missing", ("len(fleet.slots) < self", "fleet.live < self"))],
        kinds="size",
        profile="pool",
    ),
    Bug(
        "asyncpg-1307",
        "asyncpg #1307: release returns early if the connection is closed already, and the slot stays taken",
        [
            Edit(
                jobs,
                "release",
                ("if conn.closed:\n    engine", "if conn.closed:\n    return\n    engine"),
            ),
            Edit(PoolMachine, "lost", ("(CHECKING, IDLE, USED, RESETTING)", "(CHECKING, IDLE, RESETTING)")),
        ],
        kinds="hang late leak liveness",
    ),
    Bug(
        "psycopg-pool-509",
        "psycopg_pool #509: a caller that is cancelled as it is served takes the connection with it",
        [
            Edit(
                PoolMachine,
                "cancel",
                ("if slot is not None and slot.ticket is ticket:", "if False:"),
            )
        ],
        kinds="hang late leak liveness",
        profile="cancel",
    ),
    Bug(
        "psycopg-pool-1275",
        "psycopg_pool #1275: a caller cancelled as it is served gets its connection and not its cancellation",
        [
            Edit(
                Driver,
                "borrow",
                (
                    "except BaseException:",
                    """except BaseException as error:
    if ticket.slot is None or ticket.state == WAITING or type(error).__name__ != "CancelledError":
        self._machine.cancel(ticket, self._now())
        self._act()
        raise
    held = Held(self._machine, ticket, ticket.connection)
    keep(held)
    return held.lent
except ZeroDivisionError:""",
                ),
            )
        ],
        kinds="cancel",
        profile="cancel",
    ),
    Bug(
        "psycopg-pool-1401",
        "psycopg_pool #1401: the loop that waits for a connection absorbs CancelledError",
        [
            Edit(
                Driver,
                "_decided",
                (
                    "await told.wait()",
                    """try:
    await told.wait()
except BaseException as error:
    if type(error).__name__ != "CancelledError":
        raise""",
                ),
            )
        ],
        kinds="cancel late",
        profile="cancel",
    ),
    Bug(
        "pgx-1259",
        "pgx #1259: the attempt to connect dies with the caller that it was made for",
        [
            Edit(
                Driver,
                "borrow",
                (
                    "except BaseException:",
                    """except BaseException:
    for task in self._opening.values():
        task._task.cancel()""",
                ),
            )
        ],
        kinds="hang late leak liveness",
        profile="cancel",
    ),
    Bug(
        "returned-twice",
        "Npgsql #4425, pgx #938: a connection is given back twice, and lent to two callers",
        [
            Edit(
                Driver,
                "give_back",
                (
                    "self._end(held.ticket, held.lent.take_back())",
                    """conn = held.lent.take_back()
self._end(held.ticket, conn)
self._end(held.ticket, conn)""",
                ),
            ),
            Edit(
                PoolMachine,
                "release",
                ("if ticket.state != GRANTED:", "if False:"),
                ("if slot is None or slot.ticket is not ticket:", "if slot is None or slot.state != USED:"),
            ),
        ],
        kinds="error dirty stale rows",
        profile="pool",
    ),
)

_WAITERS: Final = (
    Bug(
        "last-come-first-served",
        "waiters are a stack",
        [Edit(PoolMachine, "_balance", ("self._waiters.popleft()", "self._waiters.pop()"))],
        kinds="fifo",
        profile="calm",
    ),
    Bug(
        "lost-wake-up",
        "puddle 2.0: who waits is not told that a closed connection has made room",
        [
            Edit(
                PoolMachine,
                "closed",
                ("self._fleet.move(slot, CLOSED)\nself._balance(now)", "self._fleet.move(slot, CLOSED)"),
            )
        ],
        kinds="hang late liveness",
        profile="pool",
        start=150,
    ),
    Bug(
        "lost-grant",
        "a caller's turn comes while its task is not looking, and nobody wakes it",
        [
            Edit(
                PoolMachine,
                "_grant",
                ("if ticket.waited:", "if ticket.waited and self._waiters:"),
            )
        ],
        kinds="hang late liveness",
        profile="calm",
    ),
)

_HEALTH: Final = (
    Bug(
        "no-health-check",
        "pgx #672, MemMachine #1552: an idle connection is lent without a sign of life, for ever",
        [Edit(Fleet, "needs_check", ("return slot.verified_at < now and", "return False and"))],
        kinds="liveness stale",
        profile="pool",
    ),
    Bug(
        "dead-socket-is-lent",
        "psycopg_pool #1123: an idle socket that is readable (the server's good-bye) is lent",
        [Edit(Fleet, "is_dead", ("not self._is_alive(slot.connection)", "False"))],
        kinds="stale dirty",
        profile="pool",
        start=20600,
    ),
    Bug(
        "reset-skipped",
        "a returned session is not reset although something was left in it (SET, LISTEN, temporary tables)",
        [Edit(jobs.Jobs, "state_left", ("not conn.reset_script(self._resetting)", "True"))],
        kinds="dirty",
        profile="pool",
    ),
    Bug(
        "expired-is-lent",
        "pgx 20578f57: on a busy pool, a connection from before expire() goes from hand to hand",
        [Edit(Fleet, "unfit", ("if slot.epoch != self._epoch:", "if False:"))],
        kinds="stale",
        profile="pool",
    ),
    Bug(
        "no-back-off",
        "pgx #1780, psycopg_pool #1176: while the server is away, it is dialled without a pause",
        [Edit(Backoff, "admit", ("if not self.failing:", "if True:"))],
        kinds="storm late",
    ),
    Bug(
        "first-lease-is-a-failed-connect",
        "pgproto 0.1: a session that has answered and dies in its first lease is taken for a failed connect",
        [
            Edit(jobs, "release", ("answered=engine.answered", "answered=False")),
            Edit(Driver, "_lost", ("answered=engine.answered", "answered=False")),
        ],
        kinds="late",
        says="put off",
        profile="endings",
    ),
    Bug(
        "refusal-is-forgotten",
        "pgproto 0.1: each connection asks for protocol 3.2 again, and the pooler logs each refusal",
        [Edit(Connector, "_try_host", ("self._asked_for_3_0.add(host)", "pass"))],
        kinds="refusal",
        says="refused before",
        profile="pooler",
    ),
    Bug(
        "refusal-is-taken-for-an-end",
        "pgproto 0.2: one of several attempts at once is refused, and forgets what another one has learned",
        [Edit(Connector, "_try_host", ("not startup.answered and not refused", "not startup.answered"))],
        kinds="refusal",
        says="refused before",
        profile="tangled",
    ),
    Bug(
        "cancel-without-deadline",
        "lib/pq #1000: a cancel request that gets no answer is waited for without a bound",
        [
            Edit(
                steps,
                "send_cancel",
                ("connector, budget, peer", "connector, None, peer"),
            )
        ],
        kinds="leak hang late liveness",
        profile="cancel",
        start=1750,
    ),
    Bug(
        "timer-leaks",
        "pgx #1999: the path of an error skips un-watching: its timer goes on running",
        [
            Edit(Link, "connection_lost", ("self._timer.cancel()", "pass")),
            Edit(Link, "_close_transport", ("self._timer.cancel()", "pass")),
        ],
        kinds="leak",
    ),
    Bug(
        "writes-without-brake",
        "a transport that wants no more bytes gets more all the same: memory without a bound",
        [Edit(Link, "pause_writing", ("self._write_paused = True", "pass"))],
        kinds="memory",
    ),
)

BUGS: Final = (*_SLOTS, *_WAITERS, *_HEALTH)
