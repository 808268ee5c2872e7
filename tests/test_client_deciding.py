"""Hooks that decide: which candidate is taken, which error retires a connection, who is pinged."""

from __future__ import annotations

from typing import Any

import pytest

from pgproto import ConnectError, LocalProtocolError, PoolClosed, PostgresError
from pgproto.client import Connection
from pgproto.testing import ModelServer, VirtualRuntime, fails
from tests.support.virtual import TABLE, world


class Wrong(Exception):
    """What a hook raises."""


# ---- accept


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_next_host_is_tried_if_one_is_refused(asynchronous: bool) -> None:
    runtime = world()
    asked: list[str] = []
    kept: list[Connection] = []

    def decide(conn: Connection) -> bool:
        asked.append(str(conn.engine.host))
        kept.append(conn)
        conn.data["kept"] = True
        return len(asked) == 2

    async def wait_and_decide(conn: Connection) -> bool:
        assert await conn.fetchval("select 1") == 1
        return decide(conn)

    hook: Any = wait_and_decide if asynchronous else decide

    async def main() -> None:
        async with runtime.connect("host=one,two,three", accept=hook) as conn:
            assert asked == ["one:5432", "two:5432"]
            assert str(conn.engine.host) == "two:5432"
            assert conn.data == {}
            assert await conn.fetchval("select 1") == 1
            assert all(each.closed for each in kept)

    runtime.run(main)
    assert runtime.reports == []


def raises(conn: Connection) -> bool:
    raise Wrong("secret")


async def hangs(conn: Connection) -> bool:
    await conn.runtime.sleep(1000)
    return True


async def times_out(conn: Connection) -> bool:
    raise TimeoutError


async def leaves_a_block(conn: Connection) -> None:
    await conn.transaction().start()
    await conn.execute("insert")


async def closes(conn: Connection) -> None:
    await conn.close()


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        (lambda conn: False, "accept has refused the server"),
        (raises, "accept raised Wrong"),
        (hangs, "accept did not return in time"),
        (times_out, "accept raised TimeoutError"),
        (leaves_a_block, "accept left the connection busy, or in a transaction"),
        (closes, "accept closed the connection"),
    ],
)
@pytest.mark.holds("O4")
def test_hooks_that_do_not_accept(hook: Any, text: str) -> None:
    runtime = world()

    async def main() -> None:
        with pytest.raises(ConnectError, match=text) as caught:
            await runtime.connect("host=one,two", accept=hook, connect_timeout=5)
        assert len(caught.value.errors) == 2
        assert "secret" not in str(caught.value)

    runtime.run(main)


def test_no_limit_and_no_opinion() -> None:
    runtime = world()

    async def main() -> None:
        async with runtime.connect(accept=lambda conn: None, connect_timeout=None) as conn:
            assert await conn.fetchval("select 1") == 1

    runtime.run(main)


@pytest.mark.holds("O4")
def test_an_interrupt_in_the_hook_leaves_nothing_open() -> None:
    server = ModelServer(TABLE)
    runtime = VirtualRuntime(server)

    def interrupted(conn: Connection) -> bool:
        raise KeyboardInterrupt

    async def main() -> None:
        with pytest.raises(KeyboardInterrupt):
            await runtime.connect("host=one,two", accept=interrupted)

    runtime.run(main)
    assert len(server.sessions) == 1


# ---- retire_on


@pytest.mark.holds("O4")
def test_errors_that_retire_and_a_hook_that_raises() -> None:
    server = ModelServer({**TABLE, "shut down": fails("57P01")})
    runtime = VirtualRuntime(server)
    asked: list[str] = []

    def retire_on(error: PostgresError) -> bool:
        asked.append(error.sqlstate)
        if len(asked) == 1:
            raise Wrong
        return error.sqlstate == "22012"

    async def main() -> None:
        async with runtime.Pool(max_size=1, retire_on=retire_on) as pool:
            for sql, sessions in (("bad", 1), ("select 1", 1), ("bad", 1), ("select 1", 2), ("shut down", 2)):
                if sql == "select 1":
                    await pool.fetchval(sql)
                else:
                    with pytest.raises(PostgresError):
                        await pool.fetchval(sql)
                assert len(server.sessions) == sessions
            await pool.fetchval("select 1")  # 57P01 retires, whatever the hook says
            assert len(server.sessions) == 3

    runtime.run(main)
    assert asked == ["22012", "22012", "57P01"]
    assert [(name, type(error)) for name, error in runtime.reports] == [("retire_on", Wrong)]


@pytest.mark.holds("O4")
def test_an_interrupt_in_retire_on_goes_up() -> None:
    runtime = world()

    def retire_on(error: PostgresError) -> bool:
        raise KeyboardInterrupt

    async def main() -> None:
        async with runtime.Pool(max_size=1, retire_on=retire_on) as pool:
            await pool.fetchval("bad")

    with pytest.raises(KeyboardInterrupt):
        runtime.run(main)


def test_what_accept_leaves_is_reset_before_on_connect() -> None:
    done: list[str] = []
    server = ModelServer(TABLE)

    async def accept(conn: Connection) -> None:
        await conn.execute("set x = 1")

    async def on_connect(conn: Connection) -> None:
        done.extend(str(getattr(each, "query", "")) for each in server.sessions[0].heard)

    runtime = VirtualRuntime(server)

    async def main() -> None:
        async with runtime.Pool(on_connect=on_connect, accept=accept) as pool:
            assert await pool.fetchval("select 1") == 1

    runtime.run(main)
    assert "DISCARD ALL" in done


def test_a_close_that_is_given_up_waits_for_nothing() -> None:
    """A coroutine that is being closed cannot."""

    runtime = VirtualRuntime(ModelServer(TABLE))

    async def main() -> None:
        pool = runtime.Pool()
        async with pool, pool.acquire() as conn:
            driver: Any = pool._driver
            ended = driver._closed

            class GivenUp:
                set = ended.set

                async def wait(self) -> None:
                    driver._closed = ended
                    raise GeneratorExit

            driver._closed = GivenUp()
            with pytest.raises(GeneratorExit):
                await pool.close(timeout=60)
            await runtime.sleep(1)
            assert conn.closed
        assert pool.stats().size == 0

    runtime.run(main)


# ---- ping


@pytest.mark.holds("O4")
def test_who_is_pinged_before_it_is_lent() -> None:
    runtime = world()
    answers: list[bool | type[BaseException]] = [True, False, Wrong]
    checks: list[int] = []

    def ping(conn: Connection) -> bool:
        answer = answers.pop(0) if answers else False
        if not isinstance(answer, bool):
            raise answer
        return answer

    async def main() -> None:
        async with runtime.Pool(max_size=1, ping=ping, check_after=0) as pool:
            for _ in range(4):
                await runtime.sleep(1)
                before = runtime.now()
                await pool.fetchval("select 1")
                checks.append(round((runtime.now() - before) * 1000))

    runtime.run(main)
    assert checks[0] > checks[1] < checks[2] > checks[3]
    assert [(name, type(error)) for name, error in runtime.reports] == [("ping", Wrong)]


@pytest.mark.holds("O4")
def test_ping_and_retire_on_are_not_asynchronous() -> None:
    """A coroutine is true, whatever it would return: it is reported, and the safe answer is taken."""
    runtime = world()

    async def hook(asked: object) -> bool:
        return False

    async def main() -> None:
        bound: Any = hook
        async with runtime.Pool(max_size=1, ping=bound, retire_on=bound, check_after=0) as pool:
            pid = await pool.fetchval("select 1")
            with pytest.raises(PostgresError):
                await pool.fetchval("bad")
            await runtime.sleep(1)
            assert await pool.fetchval("select 1") == pid
            assert pool.stats().opens == 1

    runtime.run(main)
    assert {name for name, _ in runtime.reports} == {"ping", "retire_on"}
    assert all("nobody awaits it" in str(error) for _, error in runtime.reports)


@pytest.mark.holds("O4")
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("what", ["abort", "expire", "end"])
def test_ping_may_do_anything_with_the_connection_and_the_pool(what: str, size: int) -> None:
    """Another connection is lent, or none; no place of the pool is lost."""
    runtime = VirtualRuntime(ModelServer(TABLE))
    asked: list[Connection] = []

    def ping(conn: Connection) -> bool:
        asked.append(conn)
        if what == "abort":
            conn.abort()
        elif what == "expire":
            pool.expire()
        else:
            bound: Any = pool._driver
            bound._begin_to_close(0.0)
        return False

    async def main() -> None:
        async with pool:
            for _ in range(3):
                try:
                    async with pool.acquire() as conn:
                        assert await conn.fetchval("select 1") == 1
                        await runtime.sleep(1)
                except PoolClosed:
                    assert what == "end"
                else:
                    assert what != "end" or not asked
                await runtime.sleep(1)
                assert pool.stats().size <= size
            assert len(asked) == (1 if what == "end" else 2)

    pool = runtime.Pool(min_size=0, max_size=size, ping=ping)
    runtime.run(main)
    assert pool.stats().size == 0


@pytest.mark.holds("O4")
def test_an_interrupt_in_ping_goes_up() -> None:
    runtime = world()

    def ping(conn: Connection) -> bool:
        raise KeyboardInterrupt

    async def main() -> None:
        async with runtime.Pool(max_size=1, ping=ping) as pool:
            await runtime.sleep(1)
            await pool.fetchval("select 1")

    with pytest.raises(KeyboardInterrupt):
        runtime.run(main)


@pytest.mark.holds("O4")
def test_a_hook_may_not_keep_the_connection() -> None:
    runtime = world()
    kept: list[Connection] = []

    async def main() -> None:
        async with runtime.connect(accept=kept.append):
            with pytest.raises((LocalProtocolError, PostgresError, Exception), match="not open"):
                await kept[0].fetchval("select 1")

    runtime.run(main)
