"""The pool's numbers and lists as they are documented: a change of one of them is a decision."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from pgproto.errors import (
    ConfigError,
    ConnectError,
    ConnectionLost,
    LocalProtocolError,
    Outcome,
    PostgresError,
)
from pgproto.pool import PoolMachine, PoolSettings, Retry, is_permanent
from pgproto.pool.backoff import PERMANENT_CLASSES, Backoff
from pgproto.pool.slots import (
    BROKEN,
    CHECK_FAILED,
    DIRTY,
    EXPIRED,
    IN_TRANSACTION,
    LIFETIME,
    LOST,
    POOL_CLOSED,
    REASONS,
    REFUSED,
    SLOT_STATES,
    TICKET_STATES,
    UNUSED,
    WAITING,
    Close,
    Open,
    Slot,
    Ticket,
)
from tests.support.pool_script import Driver, settings

DEFAULTS = {
    "min_size": 1,
    "max_size": 10,
    "acquire_timeout": 30.0,
    "max_waiting": None,
    "max_lifetime": 3600.0,
    "lifetime_jitter": 0.1,
    "max_idle": 600.0,
    "check_after": 30.0,
    "check_timeout": 2.0,
    "reset_timeout": 5.0,
    "close_timeout": 10.0,
    "backoff": 0.1,
    "max_backoff": 0.5,
}


def test_defaults() -> None:
    made = PoolSettings()
    assert {name: getattr(made, name) for name in DEFAULTS} == DEFAULTS
    shown = ", ".join(f"{name}={value!r}" for name, value in DEFAULTS.items())
    assert repr(made) == f"PoolSettings({shown})"


@pytest.mark.parametrize(
    "options",
    [
        {"min_size": 0, "max_size": 1},
        {"min_size": 3, "max_size": 3},
        {"max_waiting": 0},
        {"acquire_timeout": 0},
        {"lifetime_jitter": 0},
        {"lifetime_jitter": 0.999},
        {"close_timeout": 0},
        {"check_after": 0},
        {"backoff": 0.3, "max_backoff": 0.3},
        {"check_timeout": 0.001},
    ],
)
def test_the_limits_themselves_are_in_range(options: dict[str, float]) -> None:
    made = settings(**options)
    assert {name: getattr(made, name) for name in options} == options


@pytest.mark.parametrize("name", ["max_lifetime", "max_idle"])
def test_a_duration_of_nothing_is_no_limit(name: str) -> None:
    for value in (0, None):
        assert getattr(settings(**{name: value}), name) == math.inf
    assert getattr(settings(**{name: 1}), name) == 1.0


@pytest.mark.parametrize("name", ["acquire_timeout", "check_after", "close_timeout"])
def test_none_is_never(name: str) -> None:
    assert getattr(settings(**{name: None}), name) == math.inf


@pytest.mark.parametrize("name", ["check_timeout", "reset_timeout", "backoff", "max_backoff"])
@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan])
def test_what_must_be_positive_and_finite(name: str, value: float) -> None:
    options = {name: value, **({"max_backoff": value} if name == "backoff" and value > 0 else {})}
    with pytest.raises(ConfigError):
        settings(**options)


@pytest.mark.parametrize(
    "name", [name for name in DEFAULTS if not name.startswith(("min_", "max_size", "max_w"))]
)
@pytest.mark.parametrize("value", ["1", b"1", Decimal(1), True, [], 10**400])
def test_what_is_no_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError):
        settings(**{name: value})


def test_reasons() -> None:
    expected = ["lifetime", "idle", "lost", "dirty", "check_failed", "expired", "refused", "broken"]
    expected += ["in_transaction", "closed"]
    assert list(REASONS) == expected
    assert expected == [
        LIFETIME,
        UNUSED,
        LOST,
        DIRTY,
        CHECK_FAILED,
        EXPIRED,
        REFUSED,
        BROKEN,
        IN_TRANSACTION,
        POOL_CLOSED,
    ]


def test_what_is_permanent() -> None:
    assert set(PERMANENT_CLASSES) == {"0A", "22", "28", "3D", "42"}
    for code in ("0A000", "22023", "28P01", "3D000", "42704"):
        assert is_permanent(PostgresError.of({"C": code}))
    inner = ConnectError("inner", [PostgresError.of({"C": "28P01"})])
    outer = ConnectError("outer")
    outer.__cause__ = inner
    assert is_permanent(inner)
    assert not is_permanent(outer)  # another attempt can meet another host
    assert not is_permanent(ConnectError("no cause at all"))
    assert is_permanent(LocalProtocolError("no"))


def test_new_nouns() -> None:
    slot, ticket = Slot(7, 3), Ticket(5, 2.5, 1.5)
    assert (slot.number, slot.epoch, slot.generation, slot.connection, slot.ticket) == (7, 3, 1, None, None)
    assert (slot.expires_at, slot.idle_since, slot.verified_at, slot.deadline) == (0.0,) * 4
    assert (slot.forced, slot.proven) == (False, False)
    assert repr(slot) == "<Slot 7 OPENING generation 1>"
    assert (ticket.number, ticket.deadline, ticket.since, ticket.attempts) == (5, 2.5, 1.5, 0)
    assert (ticket.slot, ticket.error, ticket.waited, ticket.waiter) == (None, None, False, None)
    with pytest.raises(LocalProtocolError, match="ticket is WAITING, it has no connection"):
        _ = ticket.connection


def test_a_new_backoff() -> None:
    backoff = Backoff(settings(), lambda: 0.0)
    assert (backoff.failing, backoff.paused, backoff.due) == (False, False, 0.0)
    assert backoff.admit(5.0)
    assert not backoff.failing


@pytest.mark.parametrize(("max_size", "first"), [(1, 0.5), (2, 0.25), (5, 0.1), (50, 0.1)])
def test_small_pools_begin_slower(max_size: int, first: float) -> None:
    backoff = Backoff(settings(max_size=max_size), lambda: 0.0)
    backoff.failed(10.0)
    assert backoff.failing
    assert backoff.due == pytest.approx(10.0 + first)
    assert not backoff.admit(10.0 + first - 0.001)
    assert backoff.admit(10.0 + first)


def test_the_delay_of_a_long_outage_stays_at_its_bound() -> None:
    backoff = Backoff(settings(backoff=1e-9, max_backoff=0.5, max_size=10**6), lambda: 0.5)
    now = 0.0
    backoff.failed(now)
    for _ in range(2000):  # 2.0 ** 2000 is no float
        assert backoff.due - now <= 0.5 * 1.1 + 1e-9
        now = backoff.due
        assert backoff.admit(now)
    assert backoff.due - now == pytest.approx(0.5 * 1.1)


def test_retry_defaults_and_limits() -> None:
    retry = Retry()
    assert repr(retry) == "Retry(5, delay=0.05, max_delay=2.0, jitter=0.5, sqlstates=['40001', '40P01'])"
    free = Retry(1, delay=0, max_delay=0, jitter=1, sqlstates=())
    assert free.delay_before(1, lambda: 0.0) == 0.0
    assert [retry.delay_before(n, lambda: 0.0) for n in (1, 2, 3, 7, 5000)] == [0.05, 0.1, 0.2, 2.0, 2.0]
    assert retry.delay_before(2, lambda: 0.5) == pytest.approx(0.075)
    for options in ({"delay": -0.1}, {"max_delay": math.inf}, {"delay": 3, "max_delay": 2}, {"jitter": 1.1}):
        with pytest.raises(ConfigError):
            Retry(**options)
    with pytest.raises(ConfigError, match="attempts must be 1 or more, not 0"):
        Retry(0)
    with pytest.raises(ConfigError, match="several SQLSTATEs"):
        Retry(sqlstates="40001")


def test_an_error_of_the_query_that_was_not_sent_is_not_the_sessions() -> None:
    error = PostgresError.of({"C": "23505"})
    error.outcome = Outcome.NOT_SENT
    assert not Retry().should_retry(error, 1)


# ---- What a scenario does not show


def test_generations_count_up_by_one() -> None:
    driver = Driver(settings(min_size=0, max_size=1, check_after=5))
    driver.run("0 acquire a -> open 1")
    slot = driver.slots[1]
    seen = [slot.generation]
    for line in (
        "0 opened 1 -> grant a 1",
        "1 release a ->",
        "9 acquire b -> check 1",
        "9 check 1 ok -> grant b 1",
    ):
        driver.run(line)
        seen.append(slot.generation)
    assert seen == [1, 3, 4, 5, 7]


def test_a_pool_that_cannot_look_lends_what_it_has() -> None:
    pool = PoolMachine(settings(min_size=0), lambda: 0.0)
    first = pool.acquire(0.0)
    (asked,) = pool.take_actions()
    assert isinstance(asked, Open)
    pool.opened(asked.slot, asked.generation, "c", 0.0)
    pool.release(first, 1.0)
    assert pool.acquire(2.0).connection == "c"
    assert pool.stats().opens == 1


def test_a_look_is_taken_before_each_lease() -> None:
    """Of one that is given back at this moment, the server's last word may lie unread in its socket."""
    dead = set()
    pool = PoolMachine(settings(min_size=0), lambda: 0.0, lambda connection: connection not in dead)
    ticket = pool.acquire(0.0)
    (asked,) = pool.take_actions()
    assert isinstance(asked, Open)
    pool.opened(asked.slot, asked.generation, "c", 0.0)
    waiting = pool.acquire(0.5, 10)
    dead.add("c")
    pool.release(ticket, 1.0)
    assert waiting.state == WAITING
    assert [action for action in pool.take_actions() if isinstance(action, Close)]
    assert pool.stats().idle == 0


def test_what_ends_the_wait_of_the_machine() -> None:
    """`next_deadline` after an event is right without a tick in between."""
    driver = Driver(settings(min_size=0, max_idle=5, max_lifetime=100, lifetime_jitter=0, check_after=1))
    driver.run(
        """
        0 acquire a 50    -> open 1
        0 opened 1        -> grant a 1
        0 tick            ->
        0 release a       ->
        0 due 5
        4 acquire b 50    -> check 1
        4 due 5
        5 tick            ->
        5 due 6
        """
    )


@pytest.mark.parametrize(("proven", "held"), [(False, True), (True, False)])
def test_one_that_dies_young_and_unused_counts_as_a_failed_connect(proven: bool, held: bool) -> None:
    driver = Driver(settings(min_size=0, max_size=1, acquire_timeout=None))
    driver.run("0 acquire a -> open 1\n0 opened 1 -> grant a 1")
    if proven:
        driver.run("0 release a ->\n0.5 acquire a ->")
    driver.run("0.9 lost 1 -> close 1 lost force\n0.9 closed 1 ->")
    driver.run("0.9 acquire b ->" if held else "0.9 acquire b -> open 2")


def test_a_connection_that_was_lost_has_no_lease() -> None:
    driver = Driver(settings(min_size=0))
    driver.run("0 acquire a -> open 1\n0 opened 1 -> grant a 1\n2 lost 1 -> close 1 lost force")
    assert driver.slots[1].ticket is None
    assert driver.machine.stats().retired[LOST] == 1
    assert driver.machine.stats().lost == 1


def test_counters() -> None:
    driver = Driver(settings(min_size=0, max_size=1, max_waiting=1))
    driver.run(
        """
        0 acquire a 9     -> open 1
        0 stats acquires=0 waits=1 waiting=1 opening=1 size=1
        2 opened 1        -> grant a 1
        2 stats acquires=1 waits=1 wait_seconds=2 opens=1 used=1
        3 acquire b 2     ->
        3 acquire c       ->
        3 is c failed TooManyWaiting
        3 stats rejected=1 waits=2
        5 tick            -> fail b PoolTimeout
        5 stats timeouts=1 wait_seconds=4
        6 acquire d       ->
        7 cancel d        ->
        7 stats cancelled=1 wait_seconds=5 waiting=0
        8 release a lost  -> close 1 lost force
        8 stats lost=1 closing=1
        8 closed 1        ->
        8 acquire e       -> open 2
        9 open_failed 2   ->
        9 stats open_failures=1 opens=1 opening=0
        """
    )


def test_errors_are_told_with_the_state_of_the_pool() -> None:
    driver = Driver(settings(min_size=0, max_size=1, acquire_timeout=1))
    driver.run("0 acquire a -> open 1\n0 open_failed 1 ->\n1 tick -> fail a PoolTimeout")
    error = driver.tickets["a"].error
    assert str(error) == "no connection became free in time; connecting fails: refused"
    assert isinstance(error, TimeoutError)
    assert not isinstance(error, ConnectionLost)


@pytest.mark.parametrize("name", [name for name in DEFAULTS if name not in ("min_size", "lifetime_jitter")])
def test_the_text_of_a_refusal_begins_with_the_name(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} must "):
        settings(**{name: -1 if name != "max_backoff" else 0.01})
    assert SLOT_STATES == ("OPENING", "CHECKING", "IDLE", "USED", "RESETTING", "CLOSING", "CLOSED")
    assert TICKET_STATES == ("WAITING", "GRANTED", "FAILED", "CANCELLED", "RELEASED")


def test_a_snapshot_has_everything_and_is_one() -> None:
    driver = Driver(settings(min_size=0, max_size=2))
    stats = driver.machine.stats()
    driver.run("0 acquire a -> open 1\n0 opened 1 -> grant a 1\n1 lost 1 -> close 1 lost force")
    assert list(stats.as_dict()) == [
        "min_size",
        "max_size",
        "size",
        "idle",
        "used",
        "opening",
        "checking",
        "resetting",
        "closing",
        "waiting",
        "acquires",
        "waits",
        "wait_seconds",
        "timeouts",
        "rejected",
        "cancelled",
        "opens",
        "open_failures",
        "lost",
        "retired",
    ]
    assert (stats.max_size, stats.acquires, stats.retired[LOST]) == (2, 0, 0)
    numbers = [value for value in stats.as_dict().values() if not isinstance(value, dict)]
    assert numbers == [0, 2, *[0] * 17]
