"""The pool machine: what does not fit a scenario (`test_pool_callers`, `test_pool_ageing`)."""

from __future__ import annotations

import pytest

from pgproto.errors import (
    ConfigError,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    LocalProtocolError,
    Outcome,
    PoolClosed,
    PoolTimeout,
    PostgresError,
    QueryTimeout,
    RemoteProtocolError,
    TooManyWaiting,
)
from pgproto.pool import (
    Close,
    Fail,
    Grant,
    HookTimeout,
    Open,
    PoolMachine,
    PoolSettings,
    ending,
    hook_failed,
    is_permanent,
)
from pgproto.pool.backoff import Backoff
from pgproto.pool.options import split_options
from pgproto.pool.slots import SLOT_STATES
from tests.support.pool_script import Driver, Refused, settings


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
    assert str(ticket.error) == "no connection became free in time; connecting fails: nobody listens"


def test_a_timeout_of_a_busy_pool_has_no_cause() -> None:
    pool = machine(min_size=0, max_size=1)
    pool.acquire(0.0)
    asked = the_open(pool)
    pool.opened(asked.slot, asked.generation, "c", 0.0)
    ticket = pool.acquire(0.0, 1.0)
    pool.tick(1.0)
    assert isinstance(ticket.error, PoolTimeout)
    assert ticket.error.__cause__ is None
    assert str(ticket.error) == "no connection became free in time"
    assert (ticket.error.size, ticket.error.used, ticket.error.waiting) == (1, 1, 0)


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
        (ConnectionClosed("it ended before it was lent"), False),
        (LocalProtocolError("on_connect left it busy"), True),
        (server_error("08P01"), False),
        (PostgresError.of({"C": "08P01", "M": "unsupported startup parameter: jit"}), True),
        (ConnectError("no TLS here", permanent=True), True),
        (ConnectError("all failed", [ConnectError("no TLS here", permanent=True)]), True),
        (KeyError("a mistake"), True),
        (ConnectionLost("it ended"), False),
        (hook_failed(KeyError("x")), True),
        (hook_failed(SystemExit()), True),
        (hook_failed(PostgresError.of({"S": "ERROR", "C": "42P01", "M": "no table"})), True),
        (hook_failed(PostgresError.of({"S": "ERROR", "C": "23505", "M": "twice"})), True),
        (hook_failed(PostgresError.of({"S": "ERROR", "C": "40001", "M": "again"})), False),
        (hook_failed(server_error("57P01")), False),
        (hook_failed(ConnectionLost("it ended")), False),
        (hook_failed(ConnectionClosed("it ended")), False),
        (hook_failed(QueryTimeout("too slow")), False),
        (hook_failed(ConnectionRefusedError()), False),
        (hook_failed(ConnectError("elsewhere", [ConnectionRefusedError()])), False),
        (hook_failed(ConnectError("elsewhere", [server_error("28P01")])), True),
        (ConfigError("no such host file"), True),
        (RemoteProtocolError("not PostgreSQL"), True),
        (BadCertificate(), True),
        (ConnectionRefusedError(), False),
        (TimeoutError(), False),
        (ConnectError("all failed", [server_error("28P01"), server_error("3D000")]), True),
        (ConnectError("all failed", [ConnectionRefusedError(), server_error("28P01")]), False),
        (ConnectError("nested", [ConnectError("inner", [server_error("28P01")])]), True),
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


def test_an_answer_to_an_earlier_check_or_reset_is_stale() -> None:
    driver = Driver(settings(min_size=0, max_size=1, check_after=10, acquire_timeout=None))
    driver.run(
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        0 release a dirty -> reset 1
        """
    )
    pool, slot = driver.machine, driver.slots[1]
    reset = driver.asked["reset", 1]
    driver.run(
        """
        1 reset 1 ok      ->
        20 acquire b      -> check 1
        """
    )
    check = driver.asked["check", 1]
    driver.run(
        """
        21 check 1 ok     -> grant b 1
        22 release b      ->
        40 acquire c      -> check 1
        """
    )
    for usable in (True, False):
        pool.check_done(slot, check, usable, 41.0)
    driver.run(
        """
        41 stats checking=1 used=0 closing=0
        41 check 1 ok     -> grant c 1
        42 release c dirty -> reset 1
        """
    )
    for usable in (True, False):
        pool.reset_done(slot, reset, usable, 42.0)
    driver.run(
        """
        42 stats resetting=1 idle=0 closing=0
        43 reset 1 ok     ->
        43 stats idle=1
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


def test_options_of_the_pool_and_of_its_connections_are_told_apart() -> None:
    mine, others = split_options({"max_size": 3, "backoff": 0.2, "user": "app", "connect_timeout": 7})
    assert (mine.max_size, mine.backoff, mine.min_size) == (3, 0.2, 1)
    assert others == {"user": "app", "connect_timeout": 7}
    with pytest.raises(ConfigError, match="max_size must be 1 or more"):
        split_options({"max_size": 0})
    for name, count in (("max_size", 2.5), ("min_size", None), ("max_waiting", "5")):
        with pytest.raises((ConfigError, TypeError)):  # compiled, mypyc is first
            PoolSettings(**{name: count})  # type: ignore[arg-type]
    assert split_options({"max_waiting": None})[0].max_waiting is None


def test_a_connection_that_ended_counts_as_who_ended_it() -> None:
    assert ending(None) == "broken"  # and is no reason to connect more slowly
    assert ending(ConnectionLost("reset")) == "lost"


@pytest.mark.holds("D7")
def test_a_hook_s_mistake_is_told_as_what_it_is() -> None:
    mistake = KeyError("x")
    pool = machine(min_size=0)
    ticket = pool.acquire(0.0)
    asked = the_open(pool)
    failure = hook_failed(mistake)
    pool.open_failed(asked.slot, asked.generation, failure, is_permanent(failure), 0.0)
    assert isinstance(ticket.error, ConnectError)
    assert str(ticket.error) == "on_connect raised KeyError: 'x'"
    assert ticket.error.__cause__ is mistake
    assert ticket.error.errors == (mistake,)
    assert is_permanent(ticket.error)


@pytest.mark.holds("T4")
def test_a_hook_that_is_late_is_no_mistake() -> None:
    failure = hook_failed(HookTimeout("on_connect"))
    assert str(failure) == "on_connect did not return in time"
    assert isinstance(failure.__cause__, TimeoutError)
    assert not is_permanent(failure)


@pytest.mark.holds("S7")
def test_callers_that_time_out_together_say_the_same() -> None:
    pool = machine(min_size=0, max_size=2, max_waiting=199)
    pool.acquire(0.0)
    asked = the_open(pool)
    pool.opened(asked.slot, asked.generation, "c", 0.0)
    tickets = [pool.acquire(0.0, 1.0) for _ in range(200)]
    late = pool.acquire(0.5)
    pool.tick(1.0)
    assert {str(ticket.error) for ticket in tickets} == {"no connection became free in time"}
    assert isinstance(late.error, TooManyWaiting)
    assert str(late.error) == "the pool's queue of waiting callers is full"
    assert (late.error.size, late.error.opening, late.error.waiting) == (2, 1, 200)
    counts = []
    for ticket in tickets:
        assert isinstance(ticket.error, PoolTimeout)
        counts.append(ticket.error.waiting)
        assert (ticket.error.used, ticket.error.idle, ticket.error.opening) == (1, 0, 1)
    assert counts == list(range(199, -1, -1))


@pytest.mark.holds("S7")
def test_the_snapshot_has_the_last_connect_error_until_one_succeeds() -> None:
    pool = machine(min_size=0, max_size=1)
    assert pool.stats().last_error is None
    pool.acquire(0.0)
    asked = the_open(pool)
    refused = Refused("nobody listens")
    pool.open_failed(asked.slot, asked.generation, refused, False, 0.0)
    assert pool.stats().last_error is refused
    assert "nobody listens" in repr(pool.stats())
    assert "last_error" not in pool.stats().as_dict()
    pool.tick(20.0)
    asked = the_open(pool)
    pool.opened(asked.slot, asked.generation, "c", 31.0)
    assert pool.stats().last_error is None
