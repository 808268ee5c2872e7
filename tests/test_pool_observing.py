"""The seam for observers in the pool's machine: what they are told, and that they change nothing."""

from __future__ import annotations

import pytest

from pgproto import ConnectError, Move, PoolClosed, PoolObserver, PoolTimeout, TooManyWaiting, Wait
from pgproto.pool import (
    IN_TRANSACTION,
    Action,
    Close,
    Grant,
    Open,
    PoolMachine,
    PoolSettings,
    PoolWatch,
    Slot,
    Tell,
)


class Seen(PoolObserver):
    """Keeps what it is told, as text."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.moves: list[Move] = []
        self.waits: list[Wait] = []

    def moved(self, move: Move) -> None:
        self.told.append(f"{move.slot}: {move.before or 'new'} to {move.after}")
        self.moves.append(move)

    def queued(self, wait: Wait) -> None:
        self.told.append(f"caller {wait.number} waits")

    def served(self, wait: Wait) -> None:
        self.told.append(f"caller {wait.number} {wait.state}")
        self.waits.append(wait)


class Watched:
    """A machine whose news are told at once."""

    def __init__(self, *observers: PoolObserver, **options: object) -> None:
        settings = PoolSettings(**{"min_size": 0, "max_size": 1, **options})  # type: ignore[arg-type]
        self.reported: list[tuple[str, BaseException]] = []
        watch = PoolWatch(observers, lambda name, error: self.reported.append((name, error)))
        self.machine = PoolMachine(settings, lambda: 0.0, watch=watch)
        self.asked: list[Action] = []

    def act(self) -> list[Action]:
        """Tell what there is to tell; the other actions."""
        actions = self.machine.take_actions()
        for action in actions:
            if isinstance(action, Tell):
                action.deliver()
        others = [action for action in actions if not isinstance(action, Tell)]
        assert actions[: len(others)] == others  # observers come last
        return others

    def opening(self) -> Slot:
        """The slot that is being opened."""
        (action,) = [action for action in self.act() if isinstance(action, Open)]
        return action.slot


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def pool(seen: Seen) -> Watched:
    return Watched(seen)


def test_without_observers_nothing_is_told() -> None:
    machine = PoolMachine(PoolSettings(min_size=0), lambda: 0.0)
    machine.acquire(0.0)
    assert [type(action) for action in machine.take_actions()] == [Open]


def test_a_lease_from_the_first_wait_to_the_end_of_the_pool(pool: Watched, seen: Seen) -> None:
    machine = pool.machine
    ticket = machine.acquire(10.0)
    slot = pool.opening()
    assert seen.told == ["1: new to opening", "caller 1 waits"]
    machine.opened(slot, slot.generation, "connection", 10.5)
    assert [type(action) for action in pool.act()] == [Grant]
    assert seen.told[2:] == ["1: opening to idle", "1: idle to used", "caller 1 granted"]
    machine.release(ticket, 12.0)
    pool.act()
    again = machine.acquire(13.0)
    pool.act()
    machine.release(again, 13.25, clean=False)
    pool.act()
    machine.reset_done(slot, slot.generation, usable=True, now=13.5)
    pool.act()
    machine.close(14.0)
    (close,) = pool.act()
    assert isinstance(close, Close)
    machine.closed(slot, close.generation, 14.5)
    pool.act()
    assert seen.told[5:] == [
        *("1: used to idle", "1: idle to used", "caller 2 granted", "1: used to resetting"),
        *("1: resetting to idle", "1: idle to closing", "1: closing to closed"),
    ]
    assert [move.seconds for move in seen.moves] == [0.0, 0.5, 0.0, 1.5, 1.0, 0.25, 0.25, 0.5, 0.5]
    assert [move.reason for move in seen.moves[-2:]] == ["closed", ""]
    assert [(wait.queued, wait.seconds, wait.slot) for wait in seen.waits] == [
        (True, 0.5, 1),
        (False, 0.0, 1),
    ]
    assert [wait.error for wait in seen.waits] == [None, None]
    assert repr(seen.moves[0]) == "<Move of slot 1: new to opening>"
    assert repr(seen.moves[-2]) == "<Move of slot 1: idle to closing, closed>"
    assert repr(seen.waits[0]) == "<Wait 1: granted after 0.500 s>"
    assert (seen.moves[1].at, seen.waits[0].at) == (10.5, 10.5)


def test_a_connect_that_fails_and_a_caller_that_waits_in_vain(pool: Watched, seen: Seen) -> None:
    machine = pool.machine
    machine.acquire(0.0, timeout=1.0)
    slot = pool.opening()
    error = ConnectError("refused")
    machine.open_failed(slot, slot.generation, error, False, 0.25)
    pool.act()
    failed = seen.moves[1]
    assert (failed.before, failed.after, failed.error, failed.seconds) == ("opening", "closed", error, 0.25)
    machine.tick(1.0)
    pool.act()
    (wait,) = seen.waits
    assert (wait.state, wait.seconds, wait.slot) == ("failed", 1.0, 0)
    assert isinstance(wait.error, PoolTimeout)


@pytest.mark.holds("O2")
def test_callers_that_are_refused_or_go_away(seen: Seen) -> None:
    pool = Watched(seen, max_waiting=1)
    machine = pool.machine
    machine.acquire(0.0, timeout=-1.0)
    waiting = machine.acquire(0.0)
    machine.acquire(0.0)
    machine.acquire(0.0)
    machine.cancel(waiting, 2.0)
    machine.close(3.0)
    machine.acquire(4.0)
    pool.act()
    ends = [(wait.number, wait.queued, wait.state, type(wait.error)) for wait in seen.waits]
    assert ends == [
        (1, False, "failed", PoolTimeout),
        (4, False, "failed", TooManyWaiting),
        (2, True, "cancelled", type(None)),
        (3, True, "failed", PoolClosed),
        (5, False, "failed", PoolClosed),
    ]
    assert [text for text in seen.told if "waits" in text] == ["caller 2 waits", "caller 3 waits"]


def test_a_caller_that_is_cancelled_after_its_grant_has_been_served(pool: Watched, seen: Seen) -> None:
    machine = pool.machine
    ticket = machine.acquire(0.0)
    slot = pool.opening()
    machine.opened(slot, slot.generation, "connection", 0.0)
    machine.cancel(ticket, 1.0)
    pool.act()
    assert [wait.state for wait in seen.waits] == ["granted"]
    assert seen.told[-1] == "1: used to idle"


def test_why_a_connection_is_retired(pool: Watched, seen: Seen) -> None:
    machine = pool.machine
    ticket = machine.acquire(0.0)
    slot = pool.opening()
    machine.opened(slot, slot.generation, "connection", 0.0)
    machine.release(ticket, 1.0, usable=False, reason=IN_TRANSACTION)
    pool.act()
    assert [move.reason for move in seen.moves if move.after == "closing"] == ["in_transaction"]
    assert machine.stats().retired["in_transaction"] == 1


class Raising(PoolObserver):
    """Raises wherever it can."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def moved(self, move: Move) -> None:
        raise self.error

    def queued(self, wait: Wait) -> None:
        raise self.error

    served = queued


@pytest.mark.holds("O1")
@pytest.mark.parametrize("error", [ZeroDivisionError("x"), KeyboardInterrupt()])
def test_what_an_observer_raises_is_reported_and_changes_nothing(seen: Seen, error: BaseException) -> None:
    pool = Watched(Raising(error), seen)
    ticket = pool.machine.acquire(0.0)
    slot = pool.opening()
    pool.machine.opened(slot, slot.generation, "connection", 0.0)
    pool.act()
    assert ticket.connection == "connection"
    assert len(seen.told) == len(pool.reported) == 5
    assert set(pool.reported) == {("an observer", error)}


def test_without_a_report_it_is_dropped() -> None:
    machine = PoolMachine(PoolSettings(), lambda: 0.0, watch=PoolWatch([Raising(ZeroDivisionError())]))
    machine.start(0.0)
    for action in machine.take_actions():
        if isinstance(action, Tell):
            action.deliver()
    assert machine.stats().opening == 1


def test_the_methods_of_the_base_do_nothing() -> None:
    pool = Watched(PoolObserver())
    pool.machine.acquire(0.0)
    slot = pool.opening()
    pool.machine.opened(slot, slot.generation, "connection", 0.0)
    pool.act()
    assert pool.reported == []
