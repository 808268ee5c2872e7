"""The blocking pool is called in the middle of its own step, by the thread that does the step.

The garbage collector (a generator that is suspended in a lease), a signal handler and a callback can do that.
So can they when the interpreter is shutting down, and there are no threads any more.
"""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pgproto_blocking as pg
from pgproto import Batch, Error, LocalProtocolError, Outcome, PoolClosed
from tests.support.postgres import PostgresServer

BOUND = 10.0
ROOT = Path(__file__).parents[2]


@pytest.fixture
def pool(pg18: PostgresServer) -> Iterator[pg.Pool]:
    with pg.Pool(pg18.dsn(), min_size=1, max_size=3, acquire_timeout=3.0, close_timeout=1.0) as opened:
        yield opened


def in_the_middle(pool: pg.Pool, work: Callable[[], object], torn: BaseException | None = None) -> object:
    """Do some work in the middle of a step of the pool's; what it raised, or what it returned.

    Args:
        pool: whose.
        work: what to do; a thread that waits for itself does not come back.
        torn: what the step is interrupted with after that.
    """
    results: list[object] = []

    def event(now: float) -> None:
        try:
            results.append(work())
        except Error as error:
            results.append(error)
        if torn is not None:
            raise torn

    def step() -> None:
        try:
            pool._driver._tell(pool._driver._machine, event)
        except BaseException as error:
            if error is not torn:
                raise

    thread = threading.Thread(target=step, daemon=True)
    thread.start()
    thread.join(BOUND)
    assert not thread.is_alive(), "it waits for itself"
    return results[0]


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < limit


@pytest.mark.parametrize("how", ["exit", "release", "generator", "copy_out", "lease"])
def test_a_lease_that_ends_in_the_middle(pool: pg.Pool, pg18: PostgresServer, how: str) -> None:
    """It ends after the step, as it would have: its connection is reset and lent again."""
    pid = pool.fetchval("select pg_backend_pid()")
    ends: Callable[[], object]
    if how == "copy_out":
        pieces = pool.copy_out("copy (select generate_series(1, 30000)) to stdout")
        assert next(pieces).startswith(b"1\n2\n")
        garbage: list[Any] = [pieces]
        del pieces
        ends = garbage.clear
    elif how == "generator":

        def rows() -> Iterator[int]:
            with pool.acquire() as conn:
                conn.execute("set application_name = 'mine'")
                yield 1

        kept: dict[str, Any] = {"rows": rows()}
        kept["itself"] = kept
        next(kept["rows"])
        garbage = [kept]
        del kept

        def ends() -> None:
            garbage.clear()
            gc.collect()

    else:
        lease = pool.acquire()
        conn = lease.start() if how == "lease" else lease.__enter__()
        conn.execute("set application_name = 'mine'")
        if how == "exit":
            ends = lambda: lease.__exit__(None, None, None)  # noqa: E731
        elif how == "release":
            ends = lambda: pool.release(conn)  # noqa: E731
        else:
            garbage = [conn]
            del conn, lease

            def ends() -> None:
                garbage.clear()
                gc.collect()

    assert pool.stats().used == 1
    in_the_middle(pool, ends)
    until(lambda: pool.stats().used == 0 and pool.stats().idle == 1)
    assert pool.fetchval("select pg_backend_pid()") == pid
    assert pool.fetchval("show application_name") == ""
    if how == "exit":
        with lease as conn:  # it can be used again
            assert conn.fetchval("select 1") == 1


def test_on_release_is_asked_about_a_lease_that_ends_in_the_middle(pg18: PostgresServer) -> None:
    """By a thread of the pool's, once: it may ask the server, which a step must not wait for."""
    asked: list[str] = []

    def on_release(conn: pg.Connection) -> bool:
        asked.append(threading.current_thread().name)
        return bool(conn.fetchval("select false"))

    with pg.Pool(pg18.dsn(), max_size=1, on_release=on_release) as pool:
        lease = pool.acquire()
        pid = lease.__enter__().pid
        in_the_middle(pool, lease.release)
        until(lambda: asked != [])
        pool._driver._jobs.hooks = pool._driver._jobs.hooks._replace(release=None)
        assert pool.fetchval("select pg_backend_pid()") != pid
    assert asked == ["pgproto pool hook"]


def test_a_release_in_the_middle_of_a_step_that_is_interrupted_is_not_lost(pool: pg.Pool) -> None:
    """The pool starts over, and the connection that the old machine has lent is closed."""
    lease = pool.acquire()
    conn = lease.__enter__()
    underneath = conn._lender
    assert underneath is not None
    in_the_middle(pool, lease.release, KeyboardInterrupt())
    until(lambda: not lease._in_use)
    assert underneath.closed
    assert conn.closed
    with lease as conn:
        assert conn.fetchval("select 1") == 1
    assert pool.stats().used == 0


def call(pool: pg.Pool, name: str) -> object:
    if name == "fetchval":
        return pool.fetchval("select 1")
    if name == "open":
        return pool.open()
    if name == "copy_out":
        return next(pool.copy_out("copy (select 1) to stdout"))
    if name == "retry":
        return pool.retry(lambda conn: conn.fetchval("select 1"))
    with pool.acquire(timeout=1.0 if name == "acquire" else None):
        return None


@pytest.mark.parametrize("name", ["fetchval", "open", "acquire", "without limit", "copy_out", "retry"])
def test_what_needs_an_answer_is_refused_in_the_middle(pool: pg.Pool, name: str) -> None:
    refused = in_the_middle(pool, lambda: call(pool, name))
    assert type(refused) is LocalProtocolError
    assert str(refused) == "the pool is in the middle of a call by this very thread"
    assert refused.outcome is Outcome.NOT_SENT
    assert pool.fetchval("select 1") == 1
    assert (pool.stats().used, pool.stats().waiting) == (0, 0)


def test_a_batch_that_is_refused_in_the_middle_can_be_sent_again(pool: pg.Pool) -> None:
    batch = Batch()
    item = batch.queue("select 5")
    assert isinstance(in_the_middle(pool, lambda: pool.send_batch(batch)), LocalProtocolError)
    assert item.outcome is Outcome.NOT_SENT
    assert pool.send_batch(batch)[0].rows[0][0] == 5


def test_the_numbers_are_told_in_the_middle(pool: pg.Pool) -> None:
    with pool.acquire():
        stats = in_the_middle(pool, pool.stats)
        assert isinstance(stats, type(pool.stats()))
        assert stats.used == 1


def test_an_expire_in_the_middle(pool: pg.Pool) -> None:
    pid = pool.fetchval("select pg_backend_pid()")
    in_the_middle(pool, pool.expire)
    assert pool.fetchval("select pg_backend_pid()") != pid


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_close_in_the_middle(pool: pg.Pool, interrupted: bool) -> None:
    """It is begun, and not waited for: the step has to end first."""
    keeper = pool._driver._keeper
    assert keeper is not None
    in_the_middle(pool, pool.close, KeyboardInterrupt() if interrupted else None)
    keeper.join(BOUND)
    assert not keeper.is_alive()
    assert pool.stats().size == 0
    with pytest.raises(PoolClosed):
        pool.fetchval("select 1")


def test_a_close_in_the_middle_takes_the_lent_ones_away(pool: pg.Pool) -> None:
    with pool.acquire() as conn:
        in_the_middle(pool, lambda: pool.close(timeout=0.0))
        until(lambda: conn.closed)


def test_a_close_in_the_middle_of_a_step_of_a_pool_that_was_never_opened(pg18: PostgresServer) -> None:
    pool = pg.Pool(pg18.dsn())
    in_the_middle(pool, pool.close)
    with pytest.raises(PoolClosed):
        pool.fetchval("select 1")


def test_callbacks_that_come_in_the_middle(pg18: PostgresServer) -> None:
    """An idle connection has died: its `on_lost` is called by the step that looks at it."""
    seen: list[object] = []
    pools: list[pg.Pool] = []

    def on_lost() -> None:
        while pools:
            pool = pools.pop()
            seen.append(pool.stats().size)
            pool.expire()
            try:
                pool.fetchval("select 1")
            except LocalProtocolError as error:
                seen.append(str(error))

    def on_connect(conn: pg.Connection) -> None:
        conn.on_lost = on_lost

    with pg.Pool(pg18.dsn(), min_size=1, max_size=2, on_connect=on_connect) as pool:
        pid = pool.fetchval("select pg_backend_pid()")
        pg18.query(f"select pg_terminate_backend({pid}, 10000)")
        pools.append(pool)
        values: list[int] = []
        thread = threading.Thread(target=lambda: values.append(pool.fetchval("select 1")), daemon=True)
        thread.start()
        thread.join(BOUND)
        assert values == [1]
        assert seen == [1, "the pool is in the middle of a call by this very thread"]


def test_a_signal_handler_in_the_middle(pool: pg.Pool) -> None:
    refused: list[Error] = []

    def handler(number: int, frame: object) -> None:
        assert pool.stats().size == 1
        pool.expire()
        try:
            pool.fetchval("select 1", timeout=2)
        except Error as error:
            refused.append(error)

    previous = signal.signal(signal.SIGUSR1, handler)
    try:
        pool._driver._tell(pool._driver._machine, lambda now: signal.raise_signal(signal.SIGUSR1))
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert [error.outcome for error in refused] == [Outcome.NOT_SENT]
    assert pool.fetchval("select 1") == 1


def test_a_lease_that_the_collector_ends_in_a_thread_of_the_pools(pg18: PostgresServer) -> None:
    """Its `on_release` may hang: not in the thread that keeps the pool's deadlines."""
    enough = threading.Event()
    leases: list[Any] = []

    def on_release(conn: pg.Connection) -> None:
        enough.wait(BOUND)

    with pg.Pool(pg18.dsn(), min_size=0, max_size=2, on_release=on_release, close_timeout=0.2) as pool:
        driver = pool._driver
        lease = pool.acquire()
        lease.__enter__()
        leases.append(lease)
        nap = driver.nap
        ended = threading.Event()

        def collected() -> float | None:
            driver.nap = nap  # type: ignore[method-assign]
            leases.pop().release()
            ended.set()
            return nap()

        driver.nap = collected  # type: ignore[method-assign]
        driver._alarm.release()
        assert ended.wait(BOUND)
        pool.close()  # by the keeper
        enough.set()


def test_a_listener_that_is_collected_in_the_middle_of_a_call(pg18: PostgresServer) -> None:
    """Its UNLISTEN cannot be run there; the server listens for nobody no more when the call has ended."""
    with pg.connect(pg18.dsn()) as conn:

        def listen() -> Iterator[int]:
            with conn.listen("news"):
                yield 1

        listening = listen()
        next(listening)
        conn.on_notice = lambda notice: listening.close()  # type: ignore[attr-defined]
        conn.script("do $$ begin raise notice 'now'; end $$")
        assert conn.fetch("select pg_listening_channels()") == []
        with conn.listen("news") as notifications:
            conn.execute("notify news, 'again'")
            notification = notifications.get(BOUND)
            assert notification is not None
            assert notification.payload == "again"


def run_to_its_end(pg18: PostgresServer, program: str) -> tuple[str, str]:
    """What a program says, which ends its interpreter with something left."""
    text = (
        "import sys, time\nimport pgproto_blocking as pg\nfrom pgproto import Error\ndsn = sys.argv[1]\n"
        + textwrap.dedent(program)
    )
    done = subprocess.run(
        [sys.executable, "-c", text, pg18.dsn()], cwd=ROOT, capture_output=True, text=True, timeout=BOUND
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


LEFT = """
    pool = pg.Pool(dsn, max_size=1).open()

    def rows():
        with pool.{borrow}() as conn:
            conn.execute("set application_name = 'left'")
            {stream}
            yield 1

    left = rows()
    print(next(left))
"""


@pytest.mark.parametrize("stream", ["pass", "yield from conn.stream('select generate_series(1, 100000)')"])
@pytest.mark.parametrize("borrow", ["acquire", "transaction"])
def test_a_generator_that_is_left_in_a_lease_when_the_interpreter_ends(
    pg18: PostgresServer, borrow: str, stream: str
) -> None:
    said, warned = run_to_its_end(pg18, LEFT.format(borrow=borrow, stream=stream))
    assert said.split("\n")[0] in ("1", "Row(generate_series=1)")
    assert warned == ""


def test_a_copy_out_that_is_left_when_the_interpreter_ends(pg18: PostgresServer) -> None:
    program = """
        def begin():
            pool = pg.Pool(dsn, max_size=1).open()
            pieces = pool.copy_out("copy (select generate_series(1, 1000000)) to stdout")
            print(next(pieces)[:2])
            return pool, pieces

        left = begin()
    """
    assert run_to_its_end(pg18, program) == ("b'1\\n'\n", "")


def test_a_pool_that_is_closed_when_the_interpreter_ends(pg18: PostgresServer) -> None:
    program = """
        class App:
            def __init__(self):
                self.pool = pg.Pool(dsn).open()
                self.conn = self.pool.acquire().start()

            def __del__(self):
                begun = time.monotonic()
                self.pool.release(self.conn)
                self.pool.expire()
                self.pool.close()
                print(self.conn.closed, time.monotonic() - begun < 1, self.pool.stats().used)

        app = App()
    """
    assert run_to_its_end(pg18, program) == ("True True 1\n", "")


def test_what_cannot_be_opened_when_the_interpreter_ends_says_so(pg18: PostgresServer) -> None:
    program = """
        class Late:
            def __init__(self):
                self.pool = pg.Pool(dsn).open()

            def __del__(self):
                for what in (
                    lambda: pg.Pool(dsn).open(),
                    lambda: pg.Pool(dsn).fetchval("select 1"),
                    lambda: self.pool.open(),
                    lambda: self.pool.fetchval("select 1"),
                    lambda: pg.connect(dsn, host="localhost"),
                ):
                    try:
                        what()
                    except Error as error:
                        print(type(error).__name__, error.outcome.name, "shutting down" in str(error))
                with pg.connect(dsn) as conn:  # an address needs no thread
                    print(conn.fetchval("select 7"))
                self.pool.close()

        late = Late()
    """
    said, warned = run_to_its_end(pg18, program)
    assert said.splitlines() == ["PoolClosed NOT_SENT True"] * 4 + ["ConnectError NOT_SENT True", "7"]
    assert warned == ""


def test_a_connection_that_a_stopped_thread_was_using_when_the_interpreter_ends(pg18: PostgresServer) -> None:
    """A daemon thread stops where it is, with the lock held."""
    program = """
        import threading

        class Late:
            def __init__(self):
                self.conn = pg.connect(dsn)
                thread = threading.Thread(target=self.conn.fetch, args=("select pg_sleep(30)",), daemon=True)
                thread.start()
                while self.conn.engine.idle:
                    pass

            def __del__(self):
                try:
                    self.conn.fetchval("select 1")
                except Error as error:
                    print(type(error).__name__, error.outcome.name)
                self.conn.close(timeout=None)
                print(self.conn.closed)

        late = Late()
    """
    assert run_to_its_end(pg18, program) == ("QueryTimeout NOT_SENT\nTrue\n", "")
