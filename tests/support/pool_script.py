"""A language for pool scenarios, and the driver that runs them against the machine.

A scenario is a script.  Each line: the time, an event, and behind "->" the actions that come out of it, in
order.  Callers have letters, slots have numbers (in the order in which the machine makes them).

    10 acquire a 5          somebody wants a connection, for at most 5 s (no number: the default)
    10 first a 5            somebody waits for the pool's first connection
    10 opened 1 | open_failed 1 [permanent] | closed 1 | check 1 ok | reset 1 bad | lost 1 [answered]
    10 release a [dirty|broken|lost|answered] | cancel a | refuse a | expire | close [timeout] | tick | dead 1
    10 is a granted 1       (a's state, and the slot); also: failed PoolTimeout, waiting, ...
    10 stats idle=1 used=2
    10 due 12.5             next_deadline(); "never" for None
"""

from __future__ import annotations

import pytest

from pgproto.pool import (
    CANCELLED,
    FAILED,
    GRANTED,
    LOST,
    RELEASED,
    WAITING,
    Action,
    Check,
    Close,
    Fail,
    Grant,
    Open,
    PoolMachine,
    PoolSettings,
    Reset,
    Slot,
    Ticket,
)
from pgproto.pool.slots import (
    CHECKING,
    CLOSED,
    CLOSING,
    IDLE,
    OPENING,
    RESETTING,
    TICKET_STATES,
    USED,
)

SLOT_MOVES = {
    OPENING: {IDLE, CLOSING, CLOSED},
    CHECKING: {IDLE, CLOSING},
    IDLE: {USED, CHECKING, CLOSING},
    USED: {IDLE, RESETTING, CLOSING},
    RESETTING: {IDLE, CLOSING},
    CLOSING: {CLOSED},
    CLOSED: set[int](),
}
SLOT_PATHS = {
    state: {state} for state in SLOT_MOVES
}  # what one event may make of a state: any chain of moves
for _ in SLOT_MOVES:
    for reached in SLOT_PATHS.values():
        reached |= {after for before in tuple(reached) for after in SLOT_MOVES[before]}
TICKET_PATHS = {
    WAITING: {WAITING, GRANTED, FAILED, CANCELLED},
    GRANTED: {GRANTED, RELEASED, CANCELLED, WAITING, FAILED},
    FAILED: {FAILED},
    CANCELLED: {CANCELLED},
    RELEASED: {RELEASED},
}


class Refused(Exception):
    """A connect failure of the scenarios."""


class Driver:
    """Runs a script against a machine, and remembers who is who."""

    def __init__(self, settings: PoolSettings, random: float = 0.0) -> None:
        self.dead: set[str] = set()
        self.machine: PoolMachine = PoolMachine(settings, lambda: random, self.is_alive)
        self.slots: dict[int, Slot] = {}
        self.asked: dict[tuple[str, int], int] = {}  # (what, slot number) -> generation
        self.tickets: dict[str, Ticket] = {}

    def is_alive(self, connection: str) -> bool:
        return connection not in self.dead

    def name(self, ticket: Ticket) -> str:
        return next(name for name, known in self.tickets.items() if known is ticket)

    def show(self, action: Action) -> str:
        if isinstance(action, Grant):
            slot = action.ticket.slot
            if slot is None:  # of `first`
                return f"grant {self.name(action.ticket)}"
            return f"grant {self.name(action.ticket)} {slot.number}"
        if isinstance(action, Fail):
            return f"fail {self.name(action.ticket)} {type(action.ticket.error).__name__}"
        assert isinstance(action, (Open, Check, Reset, Close))
        kind = type(action).__name__.lower()
        self.slots[action.slot.number] = action.slot
        self.asked[kind, action.slot.number] = action.generation
        text = f"{kind} {action.slot.number}"
        if isinstance(action, Close):
            text += f" {action.reason}" + (" force" if action.force else "")
        return text

    def event(self, now: float, words: list[str]) -> str | None:
        """Runs one event; returns what a question was answered with."""
        machine, kind, who = self.machine, words[0], words[1] if len(words) > 1 else ""
        slot = self.slots.get(int(who)) if who.isdigit() else None
        if kind == "acquire":
            self.tickets[who] = machine.acquire(now, float(words[2]) if len(words) > 2 else None)
        elif kind == "cancel":
            machine.cancel(self.tickets[who], now)
        elif kind == "release":
            how = words[2] if len(words) > 2 else "clean"
            ticket = self.tickets[who]
            if how in ("lost", "answered"):
                machine.release(ticket, now, usable=False, reason=LOST, answered=how == "answered")
            else:
                machine.release(ticket, now, usable=how != "broken", clean=how == "clean")
        elif kind == "refuse":
            machine.refused(self.tickets[who], now)
        elif kind == "dead":
            self.dead.add(f"c{who}")
        elif kind == "start":
            machine.start(now)
        elif kind == "first":
            self.tickets[who] = machine.first(now, float(words[2]) if len(words) > 2 else None)
        elif kind == "expire":
            machine.expire(now)
        elif kind == "close":
            machine.close(now, float(who) if who else None)
        elif kind == "tick":
            machine.tick(now)
        elif kind == "is":
            ticket = self.tickets[who]
            state = TICKET_STATES[ticket.state].lower()
            if state == "granted":
                return state if ticket.slot is None else f"{state} {ticket.slot.number}"
            return state if ticket.error is None else f"{state} {type(ticket.error).__name__}"
        elif kind == "stats":
            values = machine.stats().as_dict()
            return " ".join(f"{key}={values[key]:g}" for key in (w.split("=")[0] for w in words[1:]))
        elif kind == "due":
            due = machine.next_deadline()
            return "never" if due is None else f"{due:g}"
        else:
            assert slot is not None, words
            self.answer(now, kind, slot, words)
        return None

    def answer(self, now: float, kind: str, slot: Slot, words: list[str]) -> None:
        machine, number, how = self.machine, slot.number, words[2] if len(words) > 2 else ""
        if kind == "opened":
            taken = machine.opened(slot, self.asked["open", number], f"c{number}", now)
            assert taken == (how != "unwanted")
        elif kind == "open_failed":
            machine.open_failed(slot, self.asked["open", number], Refused("refused"), how == "permanent", now)
        elif kind == "check":
            machine.check_done(slot, self.asked["check", number], how == "ok", now)
        elif kind == "reset":
            machine.reset_done(slot, self.asked["reset", number], how == "ok", now)
        elif kind == "closed":
            machine.closed(slot, self.asked["close", number], now)
        elif kind == "lost":
            machine.lost(slot, now, answered=how == "answered")
        else:
            pytest.fail(f"unknown event {kind}")

    def run(self, script: str) -> None:
        for line in filter(None, (line.strip() for line in script.splitlines())):
            left, _, right = line.partition("->")
            time, *words = left.split()
            if words[0] in ("is", "due"):
                expected = " ".join(words[2 if words[0] == "is" else 1 :])
                assert self.event(float(time), words) == expected, line
            elif words[0] == "stats":
                assert self.event(float(time), words) == " ".join(words[1:]), line
            else:
                self.event(float(time), words)
            actions = ", ".join(self.show(action) for action in self.machine.take_actions())
            assert actions == right.strip(), line


def settings(**options: float | None) -> PoolSettings:
    return PoolSettings(**options)  # type: ignore[arg-type]
