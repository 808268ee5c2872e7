"""Planted bugs of the pool and of its asyncio driver: slots, waiters, cancellation, health, back-off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Final, TypeAlias

from pgproto.client import jobs, steps
from pgproto.client.driver import Driver
from pgproto.client.runtime import Runtime
from pgproto.pool.backoff import Backoff
from pgproto.pool.fleet import Fleet
from pgproto.pool.machine import PoolMachine
from pgproto.pool.slots import CLOSED, CLOSING, EXPIRED, GRANTED, WAITING, Action, Close, Grant, Slot, Ticket
from pgproto.session.connect import Connector, Step
from pgproto.session.engine import Engine
from pgproto.wire import BackendKeyData
from pgproto_asyncio.link import Link

from .planted_edit import Bug, Edit, Wrap, returns

__all__ = ["BUGS"]


def _free_at_once(retire: Callable[..., None], self: Fleet, slot: Slot, reason: str, now: float) -> None:
    retire(self, slot, reason, now)
    self.move(slot, CLOSED, now)
    self.ask(Close(slot, slot.generation, slot.forced, reason))


def _and_keep_the_slot(cancel: Callable[..., None], self: PoolMachine, ticket: Ticket, now: float) -> None:
    if ticket.state == GRANTED:
        ticket.slot = None
    cancel(self, ticket, now)


_SLOTS: Final = (
    Bug(
        "pgx-679",
        "pgx #679, #2425: a slot is free before its connection is closed: more connections than the maximum",
        [Wrap(Fleet, "retire", _free_at_once)],
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
                ("conn.closed:\n    engine", "conn.closed:\n    return\n    engine"),
            ),
            Edit(PoolMachine, "lost", ("(CHECKING, IDLE, USED, RESETTING)", "(CHECKING, IDLE, RESETTING)")),
        ],
        kinds="hang late leak liveness",
    ),
    Bug(
        "psycopg-pool-509",
        "psycopg_pool #509: a caller that is cancelled as it is served takes the connection with it",
        [Wrap(PoolMachine, "cancel", _and_keep_the_slot)],
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


def _in_front(
    acquire: Callable[..., Ticket], self: PoolMachine, now: float, timeout: float | None = None
) -> Ticket:
    ticket = acquire(self, now, timeout)
    if ticket.state == WAITING:
        self._waiters.rotate(1)
    return ticket


def _without_a_look_at_who_waits(
    closed: Callable[..., None], self: PoolMachine, slot: Slot, generation: int, now: float
) -> None:
    if slot.generation == generation and slot.state == CLOSING:
        self._fleet.move(slot, CLOSED, now)


def _tell_if_more_wait(take: Callable[[PoolMachine], list[Action]], self: PoolMachine) -> list[Action]:
    waiting = self.stats().waiting > 0
    return [each for each in take(self) if waiting or not (isinstance(each, Grant) and each.ticket.slot)]


_WAITERS: Final = (
    Bug(
        "last-come-first-served",
        "waiters are a stack",
        [Wrap(PoolMachine, "acquire", _in_front)],
        kinds="fifo",
        profile="calm",
    ),
    Bug(
        "lost-wake-up",
        "puddle 2.0: who waits is not told that a closed connection has made room",
        [Wrap(PoolMachine, "closed", _without_a_look_at_who_waits)],
        kinds="hang late liveness",
        profile="pool",
    ),
    Bug(
        "lost-grant",
        "a caller's turn comes while its task is not looking, and nobody wakes it",
        [Wrap(PoolMachine, "take_actions", _tell_if_more_wait)],
        kinds="hang late liveness",
        profile="calm",
    ),
)


_Flow: TypeAlias = Generator[Step, None, Engine]


def _though_expired(unfit: Callable[..., str], self: Fleet, slot: Slot, now: float) -> str:
    reason = unfit(self, slot, now)
    return "" if reason == EXPIRED else reason


def _as_the_first_time(
    connect: Callable[..., _Flow], self: Connector, password: str | None = None, *, accepting: bool = False
) -> _Flow:
    self._asked_for_3_0.clear()
    return connect(self)


def _without_a_bound(
    send: Callable[..., Awaitable[None]],
    runtime: Runtime,
    connector: Connector,
    engine: Engine,
    peer: object,
    key: BackendKeyData,
    budget: float,
) -> Awaitable[None]:
    return send(runtime, connector, engine, peer, key, None)


def _forget_the_timer(pump: Callable[[Link], None], self: Link) -> None:
    if self.engine.finished:
        self._timer = None
    pump(self)


_HEALTH: Final = (
    Bug(
        "no-health-check",
        "pgx #672, MemMachine #1552: an idle connection is lent without a sign of life, for ever",
        [Wrap(Fleet, "needs_check", returns(False))],
        kinds="liveness stale",
        profile="pool",
    ),
    Bug(
        "dead-socket-is-lent",
        "psycopg_pool #1123: an idle socket that is readable (the server's good-bye) is lent",
        [Wrap(Fleet, "is_dead", returns(False))],
        kinds="stale dirty",
        profile="pool",
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
        [Wrap(Fleet, "unfit", _though_expired)],
        kinds="stale",
        profile="pool",
    ),
    Bug(
        "no-back-off",
        "pgx #1780, psycopg_pool #1176: while the server is away, it is dialled without a pause",
        [Wrap(Backoff, "admit", returns(True))],
        kinds="storm late",
    ),
    Bug(
        "first-lease-is-a-failed-connect",
        "pgproto 0.1: a session that has answered and dies in its first lease is taken for a failed connect",
        [
            Edit(jobs, "release", ("engine.answered is not None", "False")),
            Edit(Driver, "_lost", ("engine.answered is not None", "False")),
        ],
        kinds="late",
        says="put off",
        profile="endings",
    ),
    Bug(
        "refusal-is-forgotten",
        "pgproto 0.1: each connection asks for protocol 3.2 again, and the pooler logs each refusal",
        [Wrap(Connector, "connect", _as_the_first_time)],
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
        [Wrap(steps, "send_cancel", _without_a_bound)],
        kinds="leak hang late liveness",
        profile="cancel",
    ),
    Bug(
        "timer-leaks",
        "pgx #1999: the path of an error skips un-watching: its timer goes on running",
        [Wrap(Link, "pump", _forget_the_timer)],
        kinds="leak",
    ),
    Bug(
        "writes-without-brake",
        "a transport that wants no more bytes gets more all the same: memory without a bound",
        [Wrap(Link, "pause_writing", returns(None))],
        kinds="memory",
    ),
)

BUGS: Final = (*_SLOTS, *_WAITERS, *_HEALTH)
