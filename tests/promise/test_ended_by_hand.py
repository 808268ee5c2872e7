"""A statement ends the transaction of a block, by whatever way it is run: the block knows, and says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pgproto import Batch, Error, LocalProtocolError, PostgresError, Retry, TransactionAborted
from pgproto_pytest import Driver
from tests.support.owned import Owned

Way = Callable[[Any, str], Awaitable[object]]
ENDED = "statement in the transaction block has ended"


async def execute(conn: Any, sql: str) -> None:
    await conn.execute(sql)


async def prepared(conn: Any, sql: str) -> None:
    await conn.execute(await conn.prepare(sql))


async def stream(conn: Any, sql: str) -> None:
    async for _ in conn.stream(sql):
        pass


async def batch(conn: Any, sql: str) -> None:
    items = Batch()
    items.queue(sql)
    await conn.send_batch(items)


async def parts(conn: Any, sql: str) -> None:
    items = Batch(atomic=False)
    items.queue(sql)
    items.queue("select 1")
    await conn.send_batch(items)


async def many(conn: Any, sql: str) -> None:
    await conn.executemany(sql, [()])


async def script(conn: Any, sql: str) -> None:
    await conn.script(sql)


async def copy_in(conn: Any, sql: str) -> None:
    await conn.copy_in(sql, b"")


async def copy_out(conn: Any, sql: str) -> None:
    async for _ in conn.copy_out(sql):
        pass


ALONE: list[Way] = [execute, prepared, stream, batch, parts, many, script]
ONE = [
    "rollback and chain",
    "abort and chain /* x */",
    "commit and chain",
    "rollback and chain -- rollback to savepoint a",
    "/*a*/rollback/* rollback to x */and chain",
]
SEVERAL: list[tuple[Way, str]] = [
    (script, "rollback; begin; -- rollback to savepoint"),
    (script, "rollback; begin; select 'rollback to savepoint'"),
    (script, "savepoint a; rollback; begin; select 'rollback to x'"),
    (script, 'savepoint "a;rollback"; rollback to "a;rollback"; rollback; begin'),
    (copy_in, "rollback; begin; copy (select 1 where false) to stdout"),
    (copy_in, "rollback; begin; copy {t} from stdin"),
    (copy_in, "commit; begin; copy {t} from stdin"),
    (copy_in, "commit and chain; copy {t} from stdin"),
    (copy_in, "rollback; begin; select 1 / 0"),
    (copy_out, "rollback; begin; copy {t} to stdout"),
    (copy_out, "commit and chain; copy {t} to stdout"),
    (copy_out, "commit; begin; select 1 / 0"),
]


@pytest.mark.holds("L11")
@pytest.mark.parametrize(("way", "sql"), [*[(way, sql) for way in ALONE for sql in ONE], *SEVERAL])
def test_a_block_whose_transaction_was_replaced(driver: Driver, owned: Owned, way: Way, sql: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            with pytest.raises(LocalProtocolError, match=ENDED):
                async with conn.transaction():
                    await conn.execute(owned.insert(1))
                    try:
                        await way(conn, sql.format(t=owned.name))
                    except Error:
                        pass  # what it says is its own matter
                    with pytest.raises(LocalProtocolError, match=ENDED):
                        await conn.execute(owned.insert(2))
            assert conn.transaction_status == "I"
        assert owned.stored == ([1] if "commit" in sql else [])

    driver.run(scenario)


@pytest.mark.holds("L11")
@pytest.mark.parametrize("way", ALONE)
@pytest.mark.parametrize(
    "sql", ["rollback /* a /* b */ c */ to a", "ROLLBACK\tWORK\fTO\vSAVEPOINT a", ";rollback to a"]
)
def test_a_rollback_to_a_savepoint_ends_no_block(driver: Driver, owned: Owned, way: Way, sql: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn, conn.transaction():
            await conn.execute(owned.insert(1))
            await conn.execute("savepoint a")
            await conn.execute(owned.insert(2))
            await way(conn, sql)
            await conn.execute(owned.insert(3))
        assert owned.stored == [1, 3]

    driver.run(scenario)


def test_a_script_with_backslashes_rolls_back_to_a_savepoint(driver: Driver, owned: Owned) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn, conn.transaction():
            await conn.script(
                rf"savepoint a; {owned.insert(1)}; select 'a\'; rollback to a; {owned.insert(2)}"
            )
        assert owned.stored == [2]

    driver.run(scenario)


CLASH = "do $$ begin raise exception using errcode = '40001'; end $$"


@pytest.mark.holds("L11")
@pytest.mark.parametrize("first", [False, True], ids=["", "first"])
@pytest.mark.parametrize(
    ("way", "sql", "rows"),
    [
        (many, "commit and chain", 1),
        (copy_in, "commit; begin; copy {t} from stdin", 1),
        (copy_in, f"commit; begin; {CLASH}", 1),
        (copy_out, f"commit; begin; {CLASH}", 1),
        (copy_in, f"{{i}}; commit; {CLASH}", 2),
        (copy_out, f"{{i}}; commit; {CLASH}", 2),
        (copy_out, "{i}; commit; copy {t} to stdout", 2),
    ],
)
def test_nothing_is_repeated_after_a_commit(
    driver: Driver, owned: Owned, way: Way, sql: str, rows: int, first: bool
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(owned.dsn, max_size=1) as pool:
            runs = 0

            async def work(conn: Any) -> None:
                nonlocal runs
                runs += 1
                if not first:
                    await conn.execute(owned.insert(1))
                await way(conn, sql.format(t=owned.name, i=owned.insert(2)))
                await conn.execute(CLASH)

            with pytest.raises(Error):
                await pool.retry(work, retry=Retry(3, delay=0.001))
            assert runs == 1
        assert owned.stored == [1, 2][first:rows]

    driver.run(scenario)


# ---- Savepoints


@pytest.mark.parametrize("before", [False, True], ids=["", "before"])
@pytest.mark.parametrize("sql", ["typo", "{i}; typo", "select * from nowhere"])
@pytest.mark.parametrize("way", [execute, script, copy_in, copy_out])
def test_a_savepoint_holds_whatever_its_first_statement_is(
    driver: Driver, owned: Owned, way: Way, sql: str, before: bool
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            async with conn.transaction():
                if before:
                    await conn.execute(owned.insert(1))
                with pytest.raises(PostgresError) as caught:
                    async with conn.transaction():
                        await way(conn, sql.format(i=owned.insert(9)))
                assert caught.value.sqlstate in ("42601", "42P01")
                await conn.execute(owned.insert(2))
            async with conn.transaction():
                await conn.execute(owned.insert(3))
                async with conn.transaction():
                    await conn.copy_in(f"copy {owned.name} from stdin", b"4\n")
        assert owned.stored == [1, 2, 3, 4][not before :]

    driver.run(scenario)


@pytest.mark.parametrize("way", [script, copy_in, copy_out])
def test_a_transaction_that_did_not_begin_says_why(driver: Driver, owned: Owned, way: Way) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            with pytest.raises(TransactionAborted, match="could not be parsed"):
                async with conn.transaction():
                    with pytest.raises(PostgresError):
                        await way(conn, "typo")
                    with pytest.raises(LocalProtocolError, match="has not begun"):
                        await conn.execute(owned.insert(1))
            await conn.execute(owned.insert(2))
        assert owned.stored == [2]

    driver.run(scenario)
