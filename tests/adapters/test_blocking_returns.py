"""Interrupts, other threads and signal handlers, while a blocking call waits or gives back."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

import pgproto_blocking as pg
from pgproto_blocking.driver import Driver
from tests.support.postgres import PostgresServer

state_left = Driver._state_left


@pytest.mark.parametrize("how", ["release", "with", "copy_out"])
def test_an_interrupt_while_a_lease_is_given_back(
    pg18: PostgresServer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Its connection comes back at once, although the one who was interrupted still refers to the lease."""
    interrupts = [1]

    def interrupted(*args: Any) -> Any:
        if interrupts:
            interrupts.pop()
            raise KeyboardInterrupt
        return state_left(*args)

    with pg.Pool(pg18.dsn(), max_size=1, acquire_timeout=5) as pool:
        lease = pool.acquire()
        chunks = pool.copy_out("copy (select 1) to stdout")
        conn = None
        try:
            if how == "copy_out":
                next(chunks)
                monkeypatch.setattr(Driver, "_state_left", interrupted)
                chunks.close()
            elif how == "release":
                conn = lease.start()
                monkeypatch.setattr(Driver, "_state_left", interrupted)
                pool.release(conn)
            else:
                with lease as conn:
                    monkeypatch.setattr(Driver, "_state_left", interrupted)
            raise AssertionError("nothing was interrupted")
        except KeyboardInterrupt:
            assert pool.fetchval("select 1") == 1  # while the traceback keeps all of it alive
        with lease as conn:  # it can be used again
            assert conn.fetchval("select 2") == 2
        assert pool.stats().size == 1


def test_a_notification_is_awaited_no_longer_than_it_says(pg18: PostgresServer) -> None:
    """Another thread is in a call when the time is over: it has been waited for already."""
    with pg.connect(pg18.dsn()) as conn, conn.listen("nothing") as notifications:
        sleeping = threading.Thread(target=lambda: conn.fetchval("select pg_sleep(3)"))
        sleeping.start()
        before = time.monotonic()
        while conn.link.engine.idle:
            pass
        assert notifications.get(timeout=1) is None
        assert time.monotonic() - before < 1.7
        sleeping.join()


def test_a_signal_handler_that_listens_too(pg18: PostgresServer) -> None:
    """The call that it has interrupted hears what comes after it."""
    with pg.connect(pg18.dsn()) as conn, conn.listen("here") as notifications:
        heard: list[object] = []

        def handler(number: int, frame: object) -> None:
            heard.append(notifications.get(timeout=0))
            threading.Timer(0.2, lambda: pg18.query("notify here, 'late'")).start()

        before = signal.signal(signal.SIGALRM, handler)
        try:
            begun = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            notification = notifications.get(timeout=10)
            assert time.monotonic() - begun < 5
        finally:
            signal.signal(signal.SIGALRM, before)
        assert heard == [None]
        assert notification is not None
        assert notification.payload == "late"


def test_a_pool_is_closed_although_its_time_has_passed(pg18: PostgresServer) -> None:
    with pg.Pool(pg18.dsn(), max_size=1) as pool:
        conn = pool.acquire().start()
        pool.close(timeout=-5.0)
        assert conn.closed


def test_a_callback_that_ends_the_thread_of_a_reset(
    pg18: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and its connection is replaced at once, not when the time for a reset is over."""

    def leave(notice: object) -> None:
        raise SystemExit

    def on_connect(conn: pg.Connection) -> None:
        conn.on_notice = leave

    script = "do $$ begin raise notice 'reset'; end $$"
    with pg.Pool(pg18.dsn(), max_size=1, reset=script, on_connect=on_connect, reset_timeout=8) as pool:
        before = time.monotonic()
        for _ in range(2):
            with pool.acquire() as conn:
                conn.execute("select 1")
        assert time.monotonic() - before < 5
    assert "a thread of the pool raised" in caplog.messages
