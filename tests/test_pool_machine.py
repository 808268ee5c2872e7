"""The pool machine: scenarios as data, then what does not fit a scenario.

A scenario is a script.  Each line: the time, an event, and behind "->" the actions that come out of it, in
order.  Callers have letters, slots have numbers (in the order in which the machine makes them).

    10 acquire a 5          somebody wants a connection, for at most 5 s (no number: the default)
    10 opened 1 | open_failed 1 [permanent] | closed 1 | check 1 ok | reset 1 bad | lost 1
    10 release a [dirty|broken|lost] | cancel a | refuse a | expire | close [timeout] | tick | dead 1
    10 is a granted 1       (a's state, and the slot); also: failed PoolTimeout, waiting, ...
    10 stats idle=1 used=2
    10 due 12.5             next_deadline(); "never" for None
"""

from __future__ import annotations

import pytest

from pgproto.errors import (
    ConfigError,
    ConnectError,
    LocalProtocolError,
    Outcome,
    PoolClosed,
    PoolTimeout,
    PostgresError,
    RemoteProtocolError,
    TooManyWaiting,
)
from pgproto.pool import (
    LOST,
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
    is_permanent,
)
from pgproto.pool.backoff import Backoff
from pgproto.pool.slots import SLOT_STATES, TICKET_STATES


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
            assert slot is not None
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
            if how == "lost":
                machine.release(ticket, now, usable=False, reason=LOST)
            else:
                machine.release(ticket, now, usable=how != "broken", clean=how == "clean")
        elif kind == "refuse":
            machine.refused(self.tickets[who], now)
        elif kind == "dead":
            self.dead.add(f"c{who}")
        elif kind == "start":
            machine.start(now)
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
                assert ticket.slot is not None
                return f"{state} {ticket.slot.number}"
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
            machine.lost(slot, now)
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


SCENARIOS: dict[str, tuple[dict[str, float | None], str]] = {
    "one open per caller, up to max, first come first served": (
        {"min_size": 0, "max_size": 2},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 acquire c       ->
        1 opened 2        -> grant a 2
        2 opened 1        -> grant b 1
        2 stats opening=0 used=2 waiting=1 waits=3 wait_seconds=3
        3 release a       -> grant c 2
        3 release b       ->
        3 release c       ->
        3 acquire d       ->
        3 is d granted 2
        3 stats size=2 idle=1 used=1 acquires=4 waits=3 wait_seconds=6
        """,
    ),
    "min_size is opened at the start, and again after a loss": (
        {"min_size": 2},
        """
        0 start           -> open 1, open 2
        0 start           ->
        1 opened 1        ->
        1 opened 2        ->
        1 stats idle=2 acquires=0 opens=2
        2 lost 1          -> close 1 lost force, open 3
        2 stats lost=1
        2 closed 1        ->
        2 opened 3        ->
        """,
    ),
    "the connection that was used last is lent first": (
        {"min_size": 0, "max_size": 2},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        1 release b       ->
        2 release a       ->
        3 acquire c       ->
        3 is c granted 1
        """,
    ),
    "an open outlives the caller who asked for it": (
        {"min_size": 0},
        """
        0 acquire a       -> open 1
        1 cancel a        ->
        1 is a cancelled
        2 opened 1        ->
        2 stats idle=1 cancelled=1 wait_seconds=1
        3 acquire b       ->
        3 is b granted 1
        """,
    ),
    "the open of a cancelled caller serves the next one": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 acquire b       ->
        1 cancel a        ->
        2 opened 1        -> grant b 1
        """,
    ),
    "cancel before the grant was noticed gives the connection to the next": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 acquire b       ->
        1 opened 1        -> grant a 1
        1 cancel a        -> grant b 1
        1 cancel a        ->
        1 release a       ->
        1 is b granted 1
        """,
    ),
    "a second release does nothing to the next borrower": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        1 release a       ->
        1 acquire b       ->
        1 release a broken ->
        1 is b granted 1
        1 stats used=1
        """,
    ),
    "a transient failure fails nobody; callers end at their own deadline": (
        {"min_size": 0, "max_size": 2, "backoff": 0.25},
        """
        0 acquire a 1     -> open 1
        0 acquire b 2     -> open 2
        0 open_failed 1   ->
        0 open_failed 2   ->
        0 stats size=0 waiting=2 open_failures=2
        0 due 0.25
        0.25 tick         -> open 3
        0.25 due 0.75
        0.26 open_failed 3 ->
        0.75 tick         -> open 4
        0.75 due 1
        1 tick            -> fail a PoolTimeout
        1 due 2
        1.1 opened 4      -> grant b 4
        1.1 stats timeouts=1
        """,
    ),
    "after an outage the first success lets everybody through": (
        {"min_size": 0, "max_size": 3},
        """
        0 acquire a       -> open 1
        0 open_failed 1   ->
        0 acquire b       ->
        0 acquire c       ->
        0.5 tick          -> open 2
        0.5 opened 2      -> grant a 2, open 3, open 4
        """,
    ),
    "a permanent failure fails all who wait, and stops opening for nobody": (
        {"min_size": 1, "max_size": 1},
        """
        0 start           -> open 1
        0 acquire a       ->
        0 acquire b       ->
        1 open_failed 1 permanent -> fail a ConnectError, fail b ConnectError
        1 due 30
        9 tick            ->
        9 acquire c       -> open 2
        9 opened 2        -> grant c 2
        9 release c broken -> close 2 broken
        9 closed 2        -> open 3
        """,
    ),
    "a server that accepts and hangs up is not hammered": (
        {"min_size": 1, "max_size": 1},
        """
        0 start           -> open 1
        0 opened 1        ->
        0 lost 1          -> close 1 lost force
        0 closed 1        ->
        0 due 0.5
        0.5 tick          -> open 2
        0.5 opened 2      ->
        0.6 acquire a     ->
        0.6 release a lost -> close 2 lost force
        0.6 closed 2      ->
        0.6 due 1.1
        1.1 tick          -> open 3
        1.1 opened 3      ->
        2.1 lost 3        -> close 3 lost force
        2.1 closed 3      -> open 4
        """,
    ),
    "max_waiting counts only those for whom nothing is on its way": (
        {"min_size": 0, "max_size": 1, "max_waiting": 1},
        """
        0 acquire a       -> open 1
        0 acquire b       ->
        0 acquire c       ->
        0 is c failed TooManyWaiting
        0 is b waiting
        0 stats rejected=1 waiting=2
        """,
    ),
    "a timeout of 0 takes what is free or fails, and the open is kept": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a 0     -> open 1
        0 is a failed PoolTimeout
        1 opened 1        ->
        1 acquire b 0     ->
        1 is b granted 1
        """,
    ),
    "lifetime: checked on release": (
        {"min_size": 0, "max_lifetime": 100},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        100 release a dirty -> close 1 lifetime
        """,
    ),
    "lifetime: checked on acquire, before the tick": (
        {"min_size": 0, "max_lifetime": 100, "max_idle": None, "check_after": None},
        """
        0 acquire a 5     -> open 1
        0 opened 1        -> grant a 1
        1 release a       ->
        100 acquire b     -> close 1 lifetime, open 2
        """,
    ),
    "lifetime: checked by the tick, and the minimum restored": (
        {"min_size": 1, "max_lifetime": 100, "max_idle": None},
        """
        0 start           -> open 1
        0 opened 1        ->
        0 due 100
        100 tick          -> close 1 lifetime, open 2
        100 due never
        """,
    ),
    "idle connections are closed down to min_size": (
        {"min_size": 1, "max_idle": 60, "max_lifetime": None, "acquire_timeout": 5},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 acquire c       -> open 3
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 opened 3        -> grant c 3
        1 release a       ->
        2 release b       ->
        3 release c       ->
        60 tick           ->
        61 tick           -> close 1 idle
        61 closed 1       ->
        61 due 62
        70 tick           -> close 2 idle
        70 due never
        999 tick          ->
        999 stats idle=1 closing=1
        """,
    ),
    "a ping only after check_after, and the caller waits for it": (
        {"min_size": 0, "max_size": 2, "check_after": 30},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        0 release a       ->
        29 acquire b      ->
        29 is b granted 1
        29 release b      ->
        59 acquire c      -> check 1
        59 acquire d      -> open 2
        59 check 1 ok     -> grant c 1
        59 check 1 bad    ->
        59 is c granted 1
        """,
    ),
    "after a failed check the others are checked at once": (
        {"min_size": 0, "max_size": 3, "check_after": 30, "check_timeout": 2},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 acquire c       -> open 3
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 opened 3        -> grant c 3
        0 release a       ->
        0 release b       ->
        5 release c       ->
        31 acquire d      ->
        31 release d broken -> close 3 broken
        31 closed 3       ->
        31 acquire e      -> check 2
        33 tick           -> close 2 check_failed force, check 1
        33 due 35
        35 tick           -> close 1 check_failed force, open 4
        35 check 2 ok     ->
        36 opened 4       -> grant e 4
        """,
    ),
    "a free connection does not wait behind somebody else's check": (
        {"min_size": 0, "max_size": 2, "check_after": 30},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 release a       ->
        40 acquire c      -> check 1
        41 release b      -> grant c 2
        41 check 1 ok     ->
        41 stats idle=1 used=1
        """,
    ),
    "dead idle connections are seen without a round trip": (
        {"min_size": 0, "max_size": 3},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 acquire c       -> open 3
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 opened 3        -> grant c 3
        0 release a       ->
        0 release b       ->
        0 release c       ->
        1 dead 1          ->
        1 dead 2          ->
        1 dead 3          ->
        1 acquire d       -> close 3 lost force, close 2 lost force, close 1 lost force
        1 stats size=3 closing=3 lost=3 waiting=1
        1 closed 2        -> open 4
        1 opened 4        -> grant d 4
        """,
    ),
    "a dirty connection is reset first, and nobody waits for the answer": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        0 acquire b       ->
        1 release a dirty -> reset 1
        1 stats resetting=1 used=0
        2 reset 1 ok      -> grant b 1
        2 release b dirty -> reset 1
        3 reset 1 bad     -> close 1 dirty force
        """,
    ),
    "a reset that hangs ends at its deadline, and its late answer is stale": (
        {"min_size": 0, "max_size": 1, "reset_timeout": 5, "acquire_timeout": None},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        1 release a dirty -> reset 1
        1 acquire b       ->
        1 due 6
        6 tick            -> close 1 dirty force
        6 reset 1 ok      ->
        6 closed 1        -> open 2
        """,
    ),
    "closing connections count against max": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        0 acquire b       ->
        1 release a broken -> close 1 broken
        1 stats size=1 closing=1
        2 closed 1        -> open 2
        2 closed 1        ->
        """,
    ),
    "a connection lost in use frees its slot at once; the release comes late": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        0 acquire b       ->
        1 lost 1          -> close 1 lost force
        1 lost 1          ->
        1 closed 1        -> open 2
        2 opened 2        -> grant b 2
        2 release a broken ->
        2 cancel a        ->
        2 stats used=1 lost=1
        """,
    ),
    "on_acquire refuses: another one, at the old place in the queue": (
        {"min_size": 0, "max_size": 2},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 acquire c       ->
        0 refuse b        -> close 2 refused
        0 refuse a        -> close 1 refused
        1 closed 1        -> open 3
        1 opened 3        -> grant a 3
        1 release a       -> grant b 3
        1 release b       -> grant c 3
        """,
    ),
    "refused callers come back in the order of their arrival": (
        {"min_size": 0, "max_size": 2},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 refuse a        -> close 1 refused
        0 refuse b        -> close 2 refused
        0 is a waiting
        0 is b waiting
        0 closed 1        -> open 3
        0 opened 3        -> grant a 3
        0 open_failed 3   ->
        0 open_failed 1   ->
        """,
    ),
    "a caller that was cancelled while its connection was lost": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        2 lost 1          -> close 1 lost force
        2 cancel a        ->
        2 closed 1        ->
        2 stats size=0 cancelled=1
        """,
    ),
    "a ping that fails leaves the fresh ones alone": (
        {"min_size": 0, "max_size": 2, "check_after": 30},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 release a       ->
        31 acquire c      -> check 1
        31 cancel c       ->
        31 release b      ->
        32 check 1 bad    -> close 1 check_failed force
        32 stats idle=1 closing=1
        """,
    ),
    "a connection that was lent and not used does not count as fresh": (
        {"min_size": 0, "max_size": 2, "check_after": 30},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 release a       ->
        20 acquire c      ->
        25 release b      ->
        26 cancel c       ->
        40 acquire d      ->
        40 is d granted 2
        40 acquire e      -> check 1
        """,
    ),
    "close, then the deadline, with one already forced": (
        {"min_size": 0, "max_size": 2},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        1 close 1         -> close 2 closed force, fail b PoolClosed
        2 tick            -> close 1 closed force
        """,
    ),
    "on_acquire refuses always: max_size + 1 attempts": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        0 refuse a        -> close 1 refused
        0 closed 1        -> open 2
        0 opened 2        -> grant a 2
        0 refuse a        -> close 2 refused
        0 is a failed ConnectError
        0 refuse a        ->
        """,
    ),
    "a refused caller gets the next idle connection without waiting": (
        {"min_size": 0, "max_size": 2},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 release a       ->
        0 refuse b        -> close 2 refused
        0 is b granted 1
        """,
    ),
    "refused after its connection was lost, and after the pool was closed": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        1 lost 1          -> close 1 lost force
        1 refuse a        ->
        1 is a waiting
        1 closed 1        -> open 2
        1 opened 2        -> grant a 2
        2 close           ->
        2 refuse a        -> close 2 refused
        2 is a failed PoolClosed
        """,
    ),
    "expire: each at its next idle moment, newborns too": (
        {"min_size": 0, "max_size": 3},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 acquire d       -> open 3
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 cancel d        ->
        0 release a       ->
        1 expire          -> close 1 expired
        1 stats used=1 opening=1 closing=1
        1 acquire c       ->
        2 opened 3        -> close 3 expired
        2 closed 1        -> open 4
        3 release b dirty -> close 2 expired
        3 opened 4        -> grant c 4
        """,
    ),
    "close: callers fail, idle ones close, borrowed ones on return": (
        {"min_size": 0, "max_size": 2},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 acquire c       ->
        0 release b       -> grant c 2
        0 release c       ->
        0 acquire d       ->
        0 acquire e       ->
        1 close 10        -> fail e PoolClosed
        1 due 11
        1 acquire f       ->
        1 is f failed PoolClosed
        2 release a dirty -> close 1 closed
        3 closed 1        ->
        3 release d       -> close 2 closed
        3 closed 2        ->
        3 stats size=0
        3 due never
        4 close           ->
        """,
    ),
    "close: what is left at the deadline is taken away": (
        {"min_size": 1, "max_size": 3},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 release b       ->
        1 close 10        -> close 2 closed
        5 close 20        ->
        11 tick           -> close 1 closed force, close 2 closed force
        11 due never
        11 release a      ->
        12 closed 1       ->
        12 closed 2       ->
        12 stats size=0
        """,
    ),
    "close while opening, checking and resetting": (
        {"min_size": 0, "max_size": 3, "check_after": 1, "max_idle": None},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 release a       ->
        1 acquire c       -> check 1
        1 acquire d       -> open 3
        1 release b dirty -> reset 2
        2 cancel d        ->
        2 close           -> close 1 closed, close 2 closed, close 3 closed force, fail c PoolClosed
        3 opened 3 unwanted ->
        3 closed 3        ->
        3 check 1 ok      ->
        3 reset 2 ok      ->
        3 closed 1        ->
        3 closed 2        ->
        3 stats size=0
        """,
    ),
    "close(0) forces at once": (
        {"min_size": 0},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        1 close 0         -> close 1 closed force
        """,
    ),
    "close before anything was opened": (
        {"min_size": 0},
        """
        0 close           ->
        0 due never
        0 start           ->
        0 tick            ->
        """,
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    options, script = SCENARIOS[name]
    driver = Driver(settings(**options))
    driver.run(script)
    stats = driver.machine.stats()
    assert stats.size == sum(
        (stats.idle, stats.used, stats.opening, stats.checking, stats.resetting, stats.closing)
    )
    assert stats.size <= stats.max_size


def settings(**options: float | None) -> PoolSettings:
    return PoolSettings(**options)  # type: ignore[arg-type]


def machine(**options: float | None) -> PoolMachine:
    return PoolMachine(settings(**options), lambda: 0.0)


def the_open(pool: PoolMachine) -> Open:
    (action,) = pool.take_actions()
    assert isinstance(action, Open)
    return action


def test_a_timeout_tells_what_the_pool_is_doing_and_why_connecting_fails() -> None:
    pool = machine(min_size=0, max_size=1)
    ticket = pool.acquire(0.0, 1.0)
    asked = the_open(pool)
    cause = Refused("nobody listens")
    pool.open_failed(asked.slot, asked.generation, cause, False, 0.0)
    pool.tick(1.0)
    assert isinstance(ticket.error, PoolTimeout)
    assert ticket.error.__cause__ is cause
    assert ticket.error.outcome is Outcome.NOT_SENT
    for part in ("0 of 1 connections", "0 used", "nobody listens", "waiting"):
        assert part in str(ticket.error)


def test_a_timeout_of_a_busy_pool_has_no_cause() -> None:
    pool = machine(min_size=0, max_size=1)
    pool.acquire(0.0)
    asked = the_open(pool)
    pool.opened(asked.slot, asked.generation, "c", 0.0)
    ticket = pool.acquire(0.0, 1.0)
    pool.tick(1.0)
    assert isinstance(ticket.error, PoolTimeout)
    assert ticket.error.__cause__ is None
    assert "1 of 1 connections (1 used" in str(ticket.error)


@pytest.mark.parametrize("wrapped", [False, True])
def test_each_caller_gets_a_connect_error_of_its_own(wrapped: bool) -> None:
    pool = machine(min_size=0, max_size=2)
    first, second = pool.acquire(0.0), pool.acquire(0.0)
    asked = pool.take_actions()[0]
    assert isinstance(asked, Open)
    server = PostgresError({"C": "28P01", "M": "password authentication failed"})
    error = ConnectError("no host left", [server]) if wrapped else server
    pool.open_failed(asked.slot, asked.generation, error, True, 0.0)
    for ticket in (first, second):
        assert isinstance(ticket.error, ConnectError)
        assert ticket.error.sqlstate == "28P01"
        assert ticket.error.__cause__ is error
    assert first.error is not second.error


def test_the_lease_gives_the_connection_while_it_lasts() -> None:
    pool = machine(min_size=0)
    ticket = pool.acquire(0.0)
    with pytest.raises(LocalProtocolError, match="WAITING"):
        _ = ticket.connection
    asked = the_open(pool)
    pool.opened(asked.slot, asked.generation, "the connection", 0.0)
    assert ticket.connection == "the connection"
    pool.release(ticket, 0.0)
    with pytest.raises(LocalProtocolError, match="RELEASED"):
        _ = ticket.connection


def test_what_was_overtaken_is_not_asked_for() -> None:
    pool = machine(min_size=0)
    ticket = pool.acquire(0.0)
    pool.close(0.0)
    fate = [type(action) for action in pool.take_actions()]
    assert fate == [Close, Fail]
    assert isinstance(ticket.error, PoolClosed)

    pool = machine(min_size=0)
    ticket = pool.acquire(0.0)
    asked = the_open(pool)
    pool.opened(asked.slot, asked.generation, "c", 0.0)
    pool.cancel(ticket, 0.0)
    assert pool.take_actions() == []


@pytest.mark.parametrize(("draw", "lifetime"), [(0.0, 100.0), (0.5, 90.0), (0.99, 80.2)])
def test_lifetime_jitter_is_drawn_once_per_connection(draw: float, lifetime: float) -> None:
    draws = iter([draw])
    pool: PoolMachine = PoolMachine(
        settings(min_size=1, max_lifetime=100, lifetime_jitter=0.2, max_idle=None), lambda: next(draws)
    )
    pool.start(0.0)
    asked = the_open(pool)
    pool.opened(asked.slot, asked.generation, "c", 0.0)
    assert pool.next_deadline() == pytest.approx(lifetime)


@pytest.mark.parametrize("max_size", [1, 2, 3, 4, 10, 50])
@pytest.mark.parametrize("draw", [0.0, 0.99])
def test_an_outage_of_30_seconds_under_500_callers(max_size: int, draw: float) -> None:
    """At most 2 x max attempts in any second; everybody is served within a second of the server's return."""
    pool: PoolMachine = PoolMachine(settings(min_size=1, max_size=max_size), lambda: draw)
    now, attempts, first = 0.0, list[float](), None
    tickets = [pool.acquire(now, 60.0) for _ in range(500)]
    while first is None:
        for action in pool.take_actions():
            assert isinstance(action, Open)
            attempts.append(now)
            if now >= 30.0:
                assert pool.opened(action.slot, action.generation, "c", now)
                first = now
                break
            pool.open_failed(action.slot, action.generation, Refused(), False, now)
        else:
            due = pool.next_deadline()
            assert due is not None
            assert due > now
            now = due
            pool.tick(now)
    assert first < 30.7
    for start in attempts:
        assert sum(start <= at < start + 1.0 for at in attempts) <= 2 * max_size
    assert sum(ticket.waited for ticket in tickets) == 500
    assert pool.stats().used == 1
    assert pool.stats().opening == max_size - 1


def test_a_proven_connection_lets_the_delay_start_over() -> None:
    backoff = Backoff(settings(max_size=100), lambda: 0.0)
    delays = []
    for _ in range(4):
        backoff.failed(0.0)
        backoff.failed(0.0)  # those made together count once
        delays.append(backoff.due)
        backoff.succeeded()
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.5])
    backoff.failed(0.0)
    backoff.proven()  # while connecting fails, an old connection says nothing about it
    backoff.succeeded()
    backoff.failed(0.0)
    assert backoff.due == pytest.approx(0.5)
    backoff.succeeded()
    backoff.proven()
    backoff.failed(0.0)
    assert backoff.due == pytest.approx(0.1)


class BadCertificate(OSError):
    verify_code = 18


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def server_error(sqlstate: str) -> PostgresError:
    return PostgresError.of({"S": "FATAL", "C": sqlstate, "M": "no"})


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (server_error("28P01"), True),
        (server_error("28000"), True),
        (server_error("3D000"), True),
        (server_error("42501"), True),
        (server_error("57P03"), False),
        (server_error("53300"), False),
        (server_error("57P01"), False),
        (server_error("08P01"), False),
        (ConfigError("no such host file"), True),
        (RemoteProtocolError("not PostgreSQL"), True),
        (BadCertificate(), True),
        (ConnectionRefusedError(), False),
        (TimeoutError(), False),
        (ConnectError("all failed", [server_error("28P01"), server_error("3D000")]), True),
        (ConnectError("all failed", [ConnectionRefusedError(), server_error("28P01")]), False),
        (ConnectError("nested", [ConnectError("inner", [server_error("28P01")])]), False),
        (ConnectError("empty"), False),
        (chained(ConnectError("empty"), server_error("28P01")), True),
        (chained(ConnectError("empty"), ConnectionRefusedError()), False),
    ],
)
def test_permanent_connect_failures(error: Exception, permanent: bool) -> None:
    assert is_permanent(error) is permanent


@pytest.mark.parametrize(
    "options",
    [
        {"max_size": 0},
        {"min_size": -1},
        {"min_size": 3, "max_size": 2},
        {"max_waiting": -1},
        {"acquire_timeout": -1},
        {"acquire_timeout": float("nan")},
        {"max_lifetime": -0.1},
        {"lifetime_jitter": 1},
        {"check_timeout": 0},
        {"reset_timeout": float("inf")},
        {"backoff": 0},
        {"backoff": 2, "max_backoff": 1},
    ],
)
def test_settings_out_of_range(options: dict[str, float]) -> None:
    name = list(options)[-1] if "backoff" in options else next(iter(options))
    with pytest.raises(ConfigError, match=name):
        settings(**options)


def test_settings_none_and_zero() -> None:
    none = PoolSettings(max_lifetime=0, max_idle=None, check_after=None, acquire_timeout=None)
    never = float("inf")
    assert (none.max_lifetime, none.max_idle, none.check_after, none.acquire_timeout) == (never,) * 4
    assert PoolSettings(check_after=0).check_after == 0
    assert "max_size=10" in repr(none)


def test_check_after_zero_checks_always_and_the_answer_is_enough() -> None:
    driver = Driver(settings(min_size=0, check_after=0))
    driver.run(
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        0 release a       ->
        1 acquire b       -> check 1
        2 check 1 ok      -> grant b 1
        """
    )


def test_stats_and_reprs() -> None:
    pool = machine(min_size=0, max_size=1, max_waiting=0)
    ticket = pool.acquire(0.0)
    asked = the_open(pool)
    refused = pool.acquire(0.0)
    assert isinstance(refused.error, TooManyWaiting)
    stats = pool.stats()
    assert repr(stats).startswith("PoolStats(min_size=0, max_size=1, size=1, idle=0,")
    assert stats.as_dict()["retired"] == dict.fromkeys(stats.retired, 0)
    assert repr(asked) == "Open(<Slot 1 OPENING generation 1>, 1)"
    assert repr(ticket) == "<Ticket 1 WAITING>"
    assert repr(Grant(ticket)) == "Grant(<Ticket 1 WAITING>)"
    assert SLOT_STATES[asked.slot.state] == "OPENING"
    before = (pool.closing, pool.done)
    pool.close(0.0)
    assert (before, pool.closing, pool.done) == ((False, False), True, False)
