"""The pool machine where two rules meet: precedence, errors, and the time of the next tick."""

from __future__ import annotations

import pytest

from pgproto.errors import PoolTimeout
from pgproto.pool import PoolMachine
from pgproto.pool.slots import SLOT_STATES, Close, Open
from tests.support.pool_script import Driver, Refused, settings


def test_an_unverified_connection_goes_below_all_that_were_verified_later() -> None:
    driver = Driver(settings(min_size=0, max_size=4, check_after=None))
    driver.run(
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 acquire c       -> open 3
        0 acquire d       -> open 4
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 opened 3        -> grant c 3
        0 opened 4        -> grant d 4
        1 release b       ->
        2 release c       ->
        3 release d       ->
        4 cancel a        ->
        """
    )
    assert driver.slots[1].ticket is None
    driver.run("5 acquire e ->\n5 is e granted 4\n5 acquire f ->\n5 is f granted 3")
    driver.run("5 acquire g ->\n5 is g granted 2\n5 acquire h ->\n5 is h granted 1")


def test_the_next_tick_is_due_right_after_each_event() -> None:
    driver = Driver(
        settings(
            min_size=0,
            max_size=1,
            max_idle=5,
            max_lifetime=100,
            lifetime_jitter=0,
            check_after=3,
            check_timeout=0.5,
            reset_timeout=0.25,
            acquire_timeout=50,
        )
    )
    driver.run(
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        0 due 5
        5 tick            ->
        5 due never
        60 release a      ->
        60 due 65
        64 acquire b      -> check 1
        64 due 64.5
        64.5 due 64.5
        64.25 check 1 ok  -> grant b 1
        64.5 tick         ->
        64.5 due never
        70 release b dirty -> reset 1
        70 due 70.25
        """
    )


def test_after_a_tick_the_deadline_is_that_of_what_is_there() -> None:
    driver = Driver(
        settings(min_size=1, max_size=2, max_idle=5, max_lifetime=100, lifetime_jitter=0, reset_timeout=50)
    )
    driver.run(
        """
        0 start           -> open 1
        0 opened 1        ->
        5 tick            ->
        5 due 100
        6 acquire a       ->
        6 acquire b 1     -> open 2
        6 release a dirty -> reset 1
        7 tick            -> fail b PoolTimeout
        7 due 56
        """
    )


@pytest.mark.parametrize("kind", ["check", "reset"])
def test_a_tick_ahead_of_its_deadline_ends_no_check_and_no_reset(kind: str) -> None:
    driver = Driver(settings(min_size=0, max_size=1, check_after=10, check_timeout=2, reset_timeout=2))
    driver.run("0 acquire a -> open 1\n0 opened 1 -> grant a 1")
    if kind == "check":
        driver.run("0 release a ->\n20 acquire b 1 -> check 1")
    else:
        driver.run("20 release a dirty -> reset 1\n20 acquire b 1 ->")
    driver.run("21 tick -> fail b PoolTimeout\n21.9 tick ->")
    driver.run(f"22 tick -> close 1 {'check_failed' if kind == 'check' else 'dirty'} force")


def test_after_a_failed_check_all_that_are_due_are_checked_at_once() -> None:
    driver = Driver(settings(min_size=0, max_size=3, check_after=10))
    driver.run(
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
        20 acquire d      -> check 3
        21 check 3 bad    -> close 3 check_failed force, check 1, check 2
        21 stats checking=2 idle=0 closing=1
        """
    )


def test_what_was_taken_away_by_force_is_not_taken_again() -> None:
    driver = Driver(settings(min_size=0, max_size=2))
    driver.run(
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 release b       ->
        1 close 5         -> close 2 closed
        1 due 6
        6 tick            -> close 1 closed force, close 2 closed force
        7 close 0         ->
        7 tick            ->
        7 closed 1        ->
        7 closed 2        ->
        7 due never
        """
    )
    assert driver.machine.done


def test_what_was_overtaken_is_left_out_and_what_stands_behind_it_is_not() -> None:
    pool = PoolMachine(settings(min_size=0, max_size=2), lambda: 0.0)
    ticket = pool.acquire(0.0)
    pool.close(0.0)
    kinds = [type(action).__name__ for action in pool.take_actions()]
    assert kinds == ["Close", "Fail"]
    assert type(ticket.error).__name__ == "PoolClosed"


def test_who_will_not_wait_is_told_so_although_the_queue_is_full() -> None:
    driver = Driver(settings(min_size=0, max_size=1, max_waiting=0))
    driver.run("0 acquire a -> open 1\n0 open_failed 1 ->\n0 acquire b 0 ->\n0 is b failed PoolTimeout")
    driver.run("0 acquire c ->\n0 is c failed TooManyWaiting\n0 is a waiting")
    assert isinstance(driver.tickets["b"].error, PoolTimeout)


def test_the_refused_keep_their_order() -> None:
    driver = Driver(settings(min_size=0, max_size=2))
    driver.run(
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 acquire c       ->
        0 acquire d       ->
        1 refuse a        -> close 1 refused
        1 refuse b        -> close 2 refused
        """
    )
    assert driver.tickets["b"].slot is None
    driver.run(
        """
        2 closed 1        -> open 3
        2 closed 2        -> open 4
        2 opened 3        -> grant a 3
        2 opened 4        -> grant b 4
        """
    )


def test_refused_too_often_leaves_the_connection_to_the_next() -> None:
    driver = Driver(settings(min_size=0, max_size=1))
    driver.run("0 acquire a -> open 1\n0 opened 1 -> grant a 1\n0 acquire b ->")
    driver.run("1 refuse a -> close 1 refused\n1 closed 1 -> open 2\n1 opened 2 -> grant a 2")
    driver.run("2 refuse a -> close 2 refused\n2 is a failed ConnectError\n2 closed 2 -> open 3")
    assert str(driver.tickets["a"].error) == "on_acquire refused 2 connections in a row"
    driver.run("2 opened 3 -> grant b 3")


def test_a_use_that_ends_well_lets_the_back_off_start_over() -> None:
    driver = Driver(settings(min_size=0, max_size=5, acquire_timeout=None))
    driver.run(
        """
        0 acquire a       -> open 1
        0 open_failed 1   ->
        0 due 0.1
        0.1 tick          -> open 2
        0.2 opened 2      -> grant a 2
        0.3 release a     ->
        5 lost 2          -> close 2 lost force
        5 acquire b       -> open 3
        5 open_failed 3   ->
        5 due 5.1
        """
    )
    assert driver.slots[2].proven
    assert not driver.slots[3].proven


def test_leases_end_on_both_sides() -> None:
    pool = PoolMachine(settings(min_size=0, max_size=1), lambda: 0.0)
    ticket = pool.acquire(0.0)
    (asked,) = pool.take_actions()
    assert isinstance(asked, Open)
    pool.opened(asked.slot, asked.generation, "c", 0.0)
    leases = [asked.slot.ticket]
    pool.release(ticket, 1.0)  # usable and clean, unless told otherwise
    assert [*leases, asked.slot.ticket] == [ticket, None]
    assert pool.stats().idle == 1
    again = pool.acquire(2.0)
    pool.take_actions()
    pool.release(again, 3.0, usable=False, reason="mine")
    (closing,) = pool.take_actions()
    assert isinstance(closing, Close)
    assert (closing.reason, closing.force) == ("mine", False)
    assert pool.stats().retired["mine"] == 1


def test_a_reset_is_a_sign_of_life() -> None:
    driver = Driver(settings(min_size=0, max_size=1, check_after=10, acquire_timeout=None))
    driver.run(
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        0 release a dirty -> reset 1
        4 reset 1 ok      ->
        12 acquire b      ->
        12 is b granted 1
        """
    )


def test_what_expires_is_replaced_up_to_the_minimum_at_once() -> None:
    driver = Driver(settings(min_size=1, max_size=2))
    driver.run("0 start -> open 1\n0 opened 1 ->\n1 expire -> close 1 expired, open 2\n2 opened 2 ->")
    driver.run("2 acquire a ->\n2 is a granted 2")


def test_who_comes_after_the_end_is_told_so_and_leaves_nothing_behind() -> None:
    driver = Driver(settings(min_size=0, max_size=1))
    driver.run("0 close ->\n1 acquire a ->\n1 is a failed PoolClosed\n1 stats waiting=0 waits=0")


def test_no_wait_takes_no_time() -> None:
    driver = Driver(settings(min_size=0, max_size=1))
    driver.run("5 acquire a -> open 1\n5 opened 1 -> grant a 1\n5 stats waits=1 wait_seconds=0")


def test_a_stack_of_five_is_kept_in_the_order_of_their_last_answers() -> None:
    driver = Driver(settings(min_size=0, max_size=5, check_after=None))
    for number, name in enumerate("abcde", 1):
        driver.run(f"0 acquire {name} -> open {number}\n0 opened {number} -> grant {name} {number}")
    driver.run(
        "1 release a ->\n2 release b ->\n3 release c ->\n3 release d ->\n4 acquire f ->\n4 is f granted 4"
    )
    driver.run("5 release e ->\n6 cancel f ->")  # 4 was verified at 3: below 5, above 3
    for name, number in (("g", 5), ("h", 4), ("i", 3), ("j", 2), ("k", 1)):
        driver.run(f"6 acquire {name} ->\n6 is {name} granted {number}")


def test_an_answer_in_another_state_changes_nothing_even_with_the_generation_of_now() -> None:
    """A driver that has closed a connection by itself says so with the generation that the slot has then."""
    for state in ("OPENING", "USED", "IDLE", "CHECKING", "RESETTING", "CLOSING", "CLOSED"):
        driver = Driver(settings(min_size=0, max_size=1, check_after=10))
        driver.run("0 acquire a -> open 1")
        for line in (
            "0 opened 1 -> grant a 1",
            "0 release a ->",
            "20 acquire b -> check 1",
            "20 check 1 ok -> grant b 1",
            "20 release b dirty -> reset 1",
            "20 reset 1 bad -> close 1 dirty force",
            "20 closed 1 ->",
        ):
            if SLOT_STATES[driver.slots[1].state] == state:
                break
            driver.run(line)
        pool, slot = driver.machine, driver.slots[1]
        assert SLOT_STATES[slot.state] == state
        before = (slot.generation, slot.connection, pool.stats().as_dict())
        if state != "OPENING":
            assert not pool.opened(slot, slot.generation, "other", 21.0)
            pool.open_failed(slot, slot.generation, Refused(), False, 21.0)
        for usable in (True, False):
            if state != "CHECKING":
                pool.check_done(slot, slot.generation, usable, 21.0)
            if state != "RESETTING":
                pool.reset_done(slot, slot.generation, usable, 21.0)
        if state != "CLOSING":
            pool.closed(slot, slot.generation, 21.0)
        assert (slot.generation, slot.connection, pool.stats().as_dict()) == before
        assert pool.take_actions() == []
