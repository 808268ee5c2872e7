"""Interrupts of the blocking adapter: Ctrl-C, or whatever a signal handler raises, at any moment.

The promise: whatever was interrupted, a connection is in step or it is closed, and a pool goes on.
"""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from linecache import getline
from types import FrameType
from typing import Any

import pytest

import pgproto_blocking as pg
from pgproto import Batch, Error, Outcome, PoolClosed, QueuedQuery
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy

BOUND = 20.0


class Interrupt(BaseException):
    """What a signal handler raises, as Ctrl-C raises KeyboardInterrupt."""


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """Without coverage's tracer: an interrupt inside of it leaves its lock taken for ever."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)
    gc.collect()  # or the next test's collector would find what was left in the middle


@pytest.fixture
def conn(pg18: PostgresServer) -> Iterator[pg.Connection]:
    with pg.connect(pg18.dsn()) as connection:
        yield connection


@contextmanager
def interrupting(after: float) -> Iterator[None]:
    """Raise Interrupt in this thread, once, after so many seconds, unless the block has ended."""
    armed = [True]

    def handler(number: int, frame: FrameType | None) -> None:
        if armed:
            armed.clear()
            raise Interrupt

    previous = signal.signal(signal.SIGUSR1, handler)
    timer = threading.Timer(after, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
    timer.start()
    try:
        yield
    finally:
        armed.clear()
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGUSR1, previous)


def test_ctrl_c_cancels_the_query_and_keeps_the_session(conn: pg.Connection) -> None:
    pid, main = conn.pid, threading.get_ident()
    timer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT))
    begun = time.monotonic()
    # A shell starts what runs in the background with the signal ignored, and Python leaves it so.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            conn.fetch("select pg_sleep(30)")
    finally:
        signal.signal(signal.SIGINT, previous)
    assert time.monotonic() - begun < 1.5
    assert conn.engine.reusable
    assert conn.fetchval("select pg_backend_pid()") == pid


def test_an_interrupt_while_the_server_hangs_closes_within_grace(pg18: PostgresServer) -> None:
    with Proxy((pg18.host, pg18.port)) as proxy, pg.connect(pg18.dsn(port=proxy.port)) as conn:
        conn.fetch("select 1")
        proxy.black_hole()
        begun = time.monotonic()
        with pytest.raises(Interrupt), interrupting(0.05):
            conn.fetch("select 1")
        assert time.monotonic() - begun < 1.5
        assert conn.closed


@contextmanager
def used_by_another_thread(conn: pg.Connection) -> Iterator[None]:
    """From the beginning of the block on, for some 0.3 s; it has ended with the block."""
    asleep = threading.Event()
    conn.on_notice = lambda notice: asleep.set()
    script = "do $$ begin raise notice 'now'; perform pg_sleep(0.3); end $$"
    thread = threading.Thread(target=conn.script, args=(script,))
    thread.start()
    assert asleep.wait(BOUND)
    yield
    thread.join(BOUND)


def test_an_interrupt_while_waiting_for_another_thread(conn: pg.Connection) -> None:
    with used_by_another_thread(conn), pytest.raises(Interrupt), interrupting(0.02):
        conn.fetch("select 1")
    assert conn.fetchval("select 2") == 2


ADAPTER = ("pgproto_blocking", "pgproto.client.blocking")


def lines_of(
    work: Callable[[], object], interrupt_at: int = -1, of: str | tuple[str, ...] = "pgproto"
) -> int:
    """Run some work, counting the lines of pgproto that its thread executes, and interrupt it at one.

    `of` is what the names of the modules begin with whose lines count.

    A real interrupt can come only behind a call or a jump backwards.  So the lines are left out between
    which it cannot come, and where it would do harm: the release of a lock, by `_locked`, `with_lock` or at
    the end of a `with` block (whose first line is traced once more then), and a `try:`, which does nothing.
    So is the one place where it can come and nothing can be done about it: the entry of an `__exit__`.

    It has a thread of its own: what a tracer raises where an exception is being handled leaves that one the
    thread's (CPython 3.11 to 3.13), and every later error would have it for its context.
    """
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        name = frame.f_globals.get("__name__", "")
        if not name.startswith(of) or frame.f_code.co_name in ("_locked", "with_lock", "__del__"):
            return None if event == "call" else trace
        if frame.f_back is not None and frame.f_back.f_code.co_name == "__del__":
            return None  # the interpreter swallows what comes out of it
        source = getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and source.strip() != "try:" and "with self._steps.lock:" not in source:
            count += 1
            if count == interrupt_at:
                raise Interrupt(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        return trace

    def traced() -> None:
        sys.settrace(trace)
        try:
            work()
        finally:
            sys.settrace(None)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(traced).result(BOUND)
    return count


@pytest.mark.holds("D9", "A7")
@pytest.mark.slow
def test_an_interrupt_at_any_line_leaves_the_connection_right_or_closed(pg18: PostgresServer) -> None:
    conn = pg.connect(pg18.dsn())

    def work() -> None:
        with conn.transaction():
            assert conn.fetchval("select $1::int4", 5) == 5

    work()
    total = lines_of(work)
    assert total > 200  # where the core is compiled, these are the adapter's lines alone
    kept = 0
    for at in range(1, total, 1 + total // 500):
        with pytest.raises(Interrupt):
            lines_of(work, at)
        if conn.closed:
            conn = pg.connect(pg18.dsn())
            work()  # with an empty cache it would have other lines
            continue
        kept += 1
        assert conn.fetchval("select $1::int4", at) == at
        assert conn.engine.reusable, at
    assert kept > 10
    conn.close()


@pytest.mark.holds("D9", "A7")
@pytest.mark.slow
@pytest.mark.parametrize("hooks", [False, True])
def test_an_interrupt_at_any_line_leaves_the_pool_working(pg18: PostgresServer, hooks: bool) -> None:
    def ask(conn: pg.Connection) -> bool:
        return not conn.closed

    hook = ask if hooks else None
    lent: list[pg.Connection] = []
    with pg.Pool(
        pg18.dsn(), min_size=0, max_size=2, acquire_timeout=5.0, on_acquire=hook, on_release=hook
    ) as pool:

        def work() -> None:
            with pool.acquire() as conn:
                lent.append(conn)
                assert conn.fetchval("select $1::int4", 5) == 5

        work()
        total = lines_of(work)
        assert total > 200
        started_over = 0
        for at in range(1, total - 10):  # its very last lines are not always as many
            machine = pool._driver._machine
            with pytest.raises(Interrupt):
                lines_of(work, at)
            started_over += pool._driver._machine is not machine
            with pool.acquire() as one, pool.acquire() as two:
                assert (one.fetchval("select 1"), two.fetchval("select 2")) == (1, 2)
            assert pool.stats().used == 0, at
            assert all(conn.closed for conn in lent), at
            lent.clear()
            work()  # the next one's statement is prepared: as many lines as were counted
        # In the middle of a step of its machine alone.  Compiled, those are 61 of the 331 lines that count.
        assert 0 < started_over < total / 4
    assert pool.stats().size == 0


# A socket that is left is closed by the garbage collector, which says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.holds("D9", "A7")
@pytest.mark.slow
@pytest.mark.parametrize("work", ["transaction", "savepoint", "copy_in", "copy_out", "listen", "close"])
def test_an_interrupt_at_any_line_of_a_call_leaves_the_connection_right_or_closed(
    pg18: PostgresServer, work: str
) -> None:
    conn = pg.connect(pg18.dsn())

    def transaction() -> None:
        with conn.transaction():
            pass

    def savepoint() -> None:
        with conn.transaction(), suppress(ZeroDivisionError), conn.transaction():
            raise ZeroDivisionError

    def copy_in() -> None:
        assert conn.copy_in("copy pg_temp.t from stdin", [b"1\n", b"2\n"]) == 2

    def copy_out() -> None:
        assert b"".join(conn.copy_out("copy (values (1), (2)) to stdout")) == b"1\n2\n"

    def listen() -> None:
        with conn.listen("news") as notifications:
            entered.append(True)
            assert notifications.get(0) is None

    def close() -> None:
        conn.close()

    def begin() -> None:
        nonlocal conn
        if conn.closed:
            conn = pg.connect(pg18.dsn())
        conn.script("create temp table if not exists t (n int)")

    works = {each.__name__: each for each in (transaction, savepoint, copy_in, copy_out, listen, close)}
    entered: list[bool] = []
    begin()
    # Each line of the adapter; one that comes in a line of the core ends the session, as is tried above.
    total = lines_of(works[work], of=ADAPTER)
    for at in range(1, total):
        begin()
        entered.clear()
        with suppress(Interrupt):
            # It has fewer lines where the server was faster.
            assert lines_of(works[work], at, ADAPTER) < at
        if not conn.closed:
            assert conn.fetchval("select $1::int4", at) == at
            assert conn.engine.reusable, at
            with conn.listen("other") as notifications:
                channels = {row[0] for row in conn.fetch("select pg_listening_channels()")}
                assert channels == {"other"}, at
                assert notifications.get(0) is None
            conn.script("unlisten *")
    conn.close()


# One that strikes below a `__del__` is swallowed by the interpreter, which says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.holds("D9", "A7")
@pytest.mark.slow
def test_an_interrupt_at_any_line_of_the_end_of_a_pool(pg18: PostgresServer) -> None:
    """The pool can be closed again, then; nothing of it is left."""

    def opened() -> pg.Pool:
        pool = pg.Pool(pg18.dsn(), min_size=0, max_size=2, acquire_timeout=5.0, close_timeout=3.0)
        with pool.acquire() as one, pool.acquire() as two:
            assert (one.fetchval("select 1"), two.fetchval("select 2")) == (1, 2)
        return pool

    def work() -> None:
        pool.close()

    pool = opened()
    total = lines_of(work)
    for at in range(1, total, 1 + total // 80):
        pool = opened()
        with suppress(Interrupt):
            assert lines_of(work, at) < at
        begun = time.monotonic()
        pool.close()
        assert time.monotonic() - begun < 2.5, at
        assert pool.stats().size == 0, at
        with pytest.raises(PoolClosed):
            pool.fetch("select 1")
        threads = [pool._driver._keeper, *pool._driver._workers]
        assert not [each for each in threads if each is not None and each.is_alive()], at


# One that strikes below a `__del__` is swallowed by the interpreter, which says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.holds("D9", "A7")
@pytest.mark.slow
def test_an_interrupt_at_any_line_of_the_start_of_a_pool(pg18: PostgresServer) -> None:
    pool = pg.Pool(pg18.dsn())

    def work() -> None:
        nonlocal pool
        pool = pg.Pool(pg18.dsn(), min_size=1, max_size=2, acquire_timeout=5.0)
        with pool:
            assert pool.fetchval("select 1") == 1

    total = lines_of(work)
    for at in range(1, total, 1 + total // 80):
        with suppress(Interrupt):
            assert lines_of(work, at) < at
        begun = time.monotonic()
        pool.close()
        assert time.monotonic() - begun < 2.5, at
        assert pool.stats().size == 0, at


# An interrupt that strikes in a weakref's callback is swallowed by the interpreter, which says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_interrupts_at_random_moments(pg18: PostgresServer) -> None:
    """What the line by line tests cannot reach: inside of system calls, and between the instructions."""
    numbers = list(range(500))

    def many(pool: pg.Pool) -> None:
        assert [row[0] for row in pool.fetch("select generate_series(0, 499)")] == numbers

    def batch(pool: pg.Pool) -> None:
        sent = Batch()
        items = [sent.queue("select $1::int4", number) for number in numbers]
        pool.send_batch(sent)
        assert [item.rows[0][0] for item in items] == numbers

    def stream(pool: pg.Pool) -> None:
        with pool.transaction() as conn:
            assert [row[0] for row in conn.stream("select generate_series(0, 499)")] == numbers

    def slow(pool: pg.Pool) -> None:
        assert pool.fetchval("select 7 from pg_sleep(0.02)") == 7

    interrupted = 0
    with pg.Pool(pg18.dsn(), min_size=1, max_size=3, acquire_timeout=5.0) as pool:
        for number in range(120):
            work = (many, batch, stream, slow)[number % 4]
            try:
                with interrupting(0.0003 * (number % 40)):
                    work(pool)
            except Interrupt:
                interrupted += 1
            assert pool.fetchval("select $1::int4", number) == number
            assert pool.stats().used == 0
    assert interrupted > 20


def batch_of(count: int) -> tuple[Batch, list[QueuedQuery]]:
    batch = Batch()
    return batch, [batch.queue("select $1::int4", number) for number in range(count)]


@pytest.mark.holds("S3", "D9")
def test_an_interrupt_while_a_batch_waits_for_another_thread(conn: pg.Connection) -> None:
    batch, items = batch_of(3)
    with used_by_another_thread(conn), pytest.raises(Interrupt), interrupting(0.02):
        conn.send_batch(batch)
    assert [item.outcome for item in items] == [Outcome.NOT_SENT] * 3
    assert all(isinstance(item.error, Error) for item in items)
    assert conn.fetchval("select 2") == 2


@pytest.mark.holds("S3", "D9")
@pytest.mark.slow
def test_an_interrupt_at_any_line_leaves_no_item_without_an_outcome(pg18: PostgresServer) -> None:
    conn = pg.connect(pg18.dsn())
    batch, items = batch_of(3)

    def work() -> None:
        conn.send_batch(batch)

    work()
    batch, items = batch_of(3)
    total = lines_of(work)
    seen: set[Outcome | None] = set()
    for at in range(1, total, 1 + total // 250):
        if conn.closed:
            conn = pg.connect(pg18.dsn())
        batch, items = batch_of(3)
        with suppress(Interrupt):
            lines_of(work, at)
        outcomes = {item.outcome for item in items}
        seen |= outcomes
        assert None not in outcomes or not batch.sent, at  # it can be sent, then
    assert {Outcome.NOT_SENT, Outcome.UNKNOWN} <= seen
    conn.close()


class Gate:
    """A lock, after whose release by somebody who was interrupted another thread is the first to get it."""

    def __init__(self, lock: threading.RLock, other: Callable[[], object]) -> None:
        self._lock = lock
        self._other: Callable[[], object] | None = other

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._lock.release()
        other = self._other
        if kind is Interrupt and other is not None:
            self._other = None
            thread = threading.Thread(target=other)
            thread.start()
            thread.join(BOUND)
            assert not thread.is_alive()


@pytest.mark.holds("D9", "A7")
def test_nobody_gets_into_a_machine_that_an_interrupt_has_torn(pg18: PostgresServer) -> None:
    pool = pg.Pool(pg18.dsn(), min_size=1).open()
    driver = pool._driver
    machine = driver._machine
    ends: list[BaseException | None] = []

    def close() -> None:
        try:
            pool.close()
        except BaseException as error:
            ends.append(error)
        else:
            ends.append(None)

    def tear(now: float) -> None:
        machine._fleet.idle.clear()  # as in the middle of a move: the slot is idle still
        raise Interrupt

    driver._steps.lock = Gate(driver._steps.lock, close)  # type: ignore[assignment]
    begun = time.monotonic()
    with pytest.raises(Interrupt):
        driver._tell(machine, tear)
    assert ends == [None]
    assert time.monotonic() - begun < 3
    assert pool.stats().size == 0


@pytest.mark.holds("D9", "A7")
def test_a_thread_that_an_interrupt_kept_from_being_started_is_not_joined(pg18: PostgresServer) -> None:
    pool = pg.Pool(pg18.dsn(), min_size=1).open()
    pool._driver._workers.add(threading.Thread(target=print))
    pool.close()
    assert pool.stats().size == 0
