"""Labels against the truth: random batches on a real server, and then what the table has.

A batch is made of inserts, each with an id of its own, and of all that begins, ends, keeps and undoes
transactions, on a connection that is in a block of its own or not.  After it, what is still open is committed
or rolled back, and every insert's label is compared with the table.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

import pgproto_asyncio
from pgproto import Batch, DataError, Error, Outcome, PostgresError, QueuedQuery, Retry, TransactionAborted
from pgproto_pytest import Driver
from tests.support.postgres import PostgresServer

BATCHES = 200
STORED = {Outcome.COMMITTED}
NOT_STORED = {
    Outcome.ROLLED_BACK,
    Outcome.SKIPPED,
    Outcome.FAILED,
    Outcome.NOT_SENT,
    Outcome.NOT_COMMITTED,
}
SETUP = """
create table labels (id int primary key);
create procedure undo_all() language plpgsql as $$ begin rollback; end $$;
create procedure keep_all() language plpgsql as $$ begin commit; end $$;
create table deferred (id int primary key, other int references labels deferrable initially deferred);
"""
# What is drawn, and how often.  {s} is a savepoint's name, {x} the next id.
STATEMENTS = {
    "insert into labels values ({x})": 60,
    "begin": 12,
    "start transaction": 2,
    "commit": 10,
    "end": 2,
    "rollback": 6,
    "abort": 2,
    "savepoint {s}": 14,
    "rollback to {s}": 8,
    "rollback transaction to savepoint {s} -- as it was": 3,
    "release {s}": 4,
    "release savepoint {s};": 2,
    "commit and chain": 2,
    "rollback and chain": 2,
    "commit and no chain": 1,
    "prepare transaction 'labels_{x}'": 3,
    "select 1 / 0": 4,
    "selct": 1,
    "call undo_all()": 1,
    "call keep_all()": 1,
    "do $$ begin null; end $$": 1,
    "vacuum labels": 1,
    "insert into deferred values ({x}, -1)": 2,
    "/* a /* b */ c */ rollback to {s}": 1,
    "/* /* */ rollback to a -- */ rollback to {s}": 1,
    "/* /* */ select */ rollback": 1,
}
NAMES = ("a", "A", '"a"', '"A"', "b", '"b c"', '"q""q"', "b" * 70, "sch\u00f6n", 'U&"a"')
NAME_WEIGHTS = (6, 2, 3, 2, 6, 1, 1, 1, 1, 1)


class Ledger:
    """One run: a connection, and what became of every insert."""

    def __init__(self, conn: Any, dice: random.Random) -> None:
        self.conn = conn
        self.dice = dice
        self.next_id = 1
        self.seen: Counter[str] = Counter()

    def batch(self) -> tuple[Batch, dict[int, QueuedQuery]]:
        dice = self.dice
        batch = Batch(atomic=dice.random() < 0.5)
        inserts: dict[int, QueuedQuery] = {}
        texts = dice.choices(list(STATEMENTS), list(STATEMENTS.values()), k=dice.randint(1, 12))
        if "insert" not in "".join(texts):
            texts.append("insert into labels values ({x})")
        for text in texts:
            name = dice.choices(NAMES, NAME_WEIGHTS)[0]
            item = batch.queue(text.replace("{x}", str(self.next_id)).replace("{s}", name))
            if text.startswith("insert into labels"):
                inserts[self.next_id] = item
            self.next_id += 1
        return batch, inserts

    async def ids(self) -> set[int]:
        return {row[0] for row in await self.conn.fetch("select id from labels")}

    async def turn(self) -> None:
        dice, conn = self.dice, self.conn
        opened = dice.random() < 0.3
        if opened:
            await conn.script("begin; savepoint a" if dice.random() < 0.5 else "begin")
        batch, inserts = self.batch()
        texts = [item.sql for item in batch.items]
        try:
            await conn.send_batch(batch)
        except Error:
            assert batch.atomic, texts
        status = conn.transaction_status
        stored_later = False
        if status != "I":
            stored_later = dice.random() < 0.7
            try:
                results = await conn.script("commit" if stored_later else "rollback")
                stored_later = results[-1].tag == "COMMIT"
            except Error:  # what was deferred
                stored_later = False
        stored = await self.ids()
        prepared = [row[0] for row in await conn.fetch("select gid from pg_prepared_xacts")]
        for name in prepared:
            await conn.execute(f"commit prepared '{name}'")
        after = await self.ids()
        await conn.execute("delete from labels")
        story = [(each.sql, each.tag, str(each.outcome), str(each.error)) for each in batch.items]
        for number, item in inserts.items():
            outcome = item.outcome
            assert outcome is not None
            self.seen[outcome.name] += 1
            what = "\n".join(map(str, (number, outcome, batch.atomic, opened, *story)))
            if outcome is Outcome.PREPARED:
                assert number not in stored, what
                assert number in after, what
            elif outcome is Outcome.OK_IN_TX:
                assert (number in stored) == stored_later, what
            elif outcome is Outcome.UNKNOWN:
                doubt = ("call", "do ", "vacuum", "/*", "bbbb", "sch", "U&", "prepare")
                assert any(each in text for text in texts for each in doubt), what
            else:
                assert outcome in STORED | NOT_STORED, what
                assert (number in stored) == (outcome in STORED), what


@pytest.mark.holds("L8")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_label_is_true(pg: PostgresServer, seed: int) -> None:
    async def main() -> None:
        async with pgproto_asyncio.connect(pg.dsn()) as conn:
            await conn.script(
                "drop table if exists deferred, labels; drop procedure if exists undo_all, keep_all"
            )
            await conn.script(SETUP)
            ledger = Ledger(conn, random.Random(seed))
            for _ in range(BATCHES):
                await ledger.turn()
            await conn.script("drop table deferred, labels; drop procedure undo_all, keep_all")
        for name in ("COMMITTED", "ROLLED_BACK", "SKIPPED", "FAILED", "OK_IN_TX", "PREPARED", "UNKNOWN"):
            assert ledger.seen[name], ledger.seen
        certain = ledger.seen.total() - ledger.seen["UNKNOWN"]
        assert certain > 0.8 * ledger.seen.total(), ledger.seen

    asyncio.run(main())


C, R, T, F, S = (
    Outcome.COMMITTED,
    Outcome.ROLLED_BACK,
    Outcome.OK_IN_TX,
    Outcome.FAILED,
    Outcome.SKIPPED,
)
P, U = Outcome.PREPARED, Outcome.UNKNOWN
INSERT = "insert into {t} values (1)"
CASES = [
    (True, ["begin", INSERT, "rollback"], [R, R, R]),
    (True, [INSERT, "rollback"], [R, R]),
    (True, ["begin", "savepoint s", INSERT, "rollback to s", "commit"], [C, C, R, C, C]),
    (False, ["begin", INSERT, "commit"], [C, C, C]),
    (False, ["begin", INSERT, "select 1/0", "commit"], [R, R, F, R]),
    (False, ["begin", "savepoint s", INSERT, "select 1/0", "rollback to s", "commit"], [C, C, R, F, C, C]),
    (True, ["begin", INSERT, "prepare transaction '{t}'"], [P, P, P]),
    (True, ["begin", INSERT], [T, T]),
]


@pytest.mark.holds("L8")
@pytest.mark.parametrize(("atomic", "texts", "expected"), CASES)
def test_the_end_of_a_transaction_labels_what_it_ends(
    driver: Driver, pg18: PostgresServer, atomic: bool, texts: list[str], expected: list[Outcome]
) -> None:
    async def scenario(pg: Driver) -> None:
        table = f"t_{pg.name}_{id(expected)}"
        async with pg.connect(pg18.dsn()) as conn:
            await conn.execute(f"create table {table} (id int)")
            batch = Batch(atomic=atomic)
            items = [batch.queue(text.replace("{t}", table)) for text in texts]
            await conn.send_batch(batch)
            assert [item.outcome for item in items] == expected
            aborted = [item for item in items if isinstance(item.error, TransactionAborted)]
            failed = [item for item in items if item.outcome is F]
            assert len(aborted) == (1 if failed and items[-1].outcome is R else 0)
            assert all(item.error is None for item in items if item not in aborted + failed)
            if conn.transaction_status != "I":
                await conn.execute("rollback")
            if expected[-1] is P:
                await conn.execute(f"rollback prepared '{table}'")
            await conn.execute(f"drop table {table}")

    driver.run(scenario)


@pytest.mark.holds("L8")
def test_a_procedure_that_commits_and_then_fails(driver: Driver, pg15: PostgresServer) -> None:
    """PostgreSQL up to 15 lets it commit what came before it in the batch."""

    async def scenario(pg: Driver) -> None:
        table = f"late_{pg.name}"
        async with pg.connect(pg15.dsn()) as conn:
            await conn.execute(f"create table {table} (id int)")
            batch = Batch()
            item = batch.queue(f"insert into {table} values (1)")
            batch.queue("do $$ begin commit; raise exception 'late'; end $$")
            with pytest.raises(Error):
                await conn.send_batch(batch)
            assert item.outcome is Outcome.UNKNOWN
            assert await conn.fetchval(f"select count(*) from {table}") == 1
            await conn.execute(f"drop table {table}")

    driver.run(scenario)


@pytest.mark.holds("L8")
def test_a_commit_that_rolled_back_raises(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            await conn.script("begin")
            with pytest.raises(Error):
                await conn.execute("select 1/0")
            with pytest.raises(TransactionAborted) as caught:
                await conn.execute("commit")
            assert caught.value.outcome is R

    driver.run(scenario)
    assert not P.safe_to_retry


@pytest.mark.holds("L8")
def test_what_commits_and_then_fails_is_not_repeated(driver: Driver, pg18: PostgresServer) -> None:
    """The class of the error would say that it is useful: 40001."""
    clash = "do $$ begin raise exception 'clash' using errcode = '40001'; end $$"

    async def scenario(pg: Driver) -> None:
        table = f"twice_{pg.name}"
        insert = f"insert into {table} values (1)"
        async with pg.connect(pg18.dsn()) as conn:
            await conn.script(
                f"create table {table} (id int);"
                f" create procedure late_{pg.name}() language plpgsql as $$ begin {insert}; commit;"
                " raise exception 'clash' using errcode = '40001'; end $$"
            )

            async def batch(*texts: str) -> None:
                queue = Batch()
                for text in texts:
                    queue.queue(text)
                await conn.send_batch(queue)

            for attempt, outcome in (
                (lambda: conn.script(f"begin; {insert}; commit; begin; {insert}; {clash}"), U),
                (lambda: conn.script(f"{insert}; commit; {clash}"), U),
                (lambda: conn.script(f"begin; {insert}; {clash}"), F),
                (lambda: conn.script(f"{insert}; {clash}"), F),
                (lambda: conn.script(f"call late_{pg.name}()"), U),
                (lambda: conn.execute(f"call late_{pg.name}()"), U),
                (lambda: conn.executemany(f"call late_{pg.name}()", [()]), U),
                (lambda: batch(insert, "commit", "begin", insert, clash), U),
                (lambda: batch(insert, "select 1/0"), F),
            ):
                with pytest.raises(PostgresError) as caught:
                    await attempt()
                assert caught.value.outcome is outcome
                assert Retry().should_retry(caught.value, 1) is (
                    outcome is F and caught.value.sqlstate == "40001"
                )
                if conn.transaction_status != "I":
                    await conn.execute("rollback")
                stored = await conn.fetchval(f"select count(*) from {table}")
                assert stored == (outcome is U)
                await conn.execute(f"truncate {table}")
            with pytest.raises(PostgresError) as caught:
                async with conn.transaction():
                    await conn.execute(f"call late_{pg.name}()")
            assert caught.value.outcome is F  # in a block it cannot commit
            await conn.script(f"drop table {table}; drop procedure late_{pg.name}()")

    driver.run(scenario)


@pytest.mark.holds("S3")
@pytest.mark.parametrize("what", ["a batch again", "on_acquire", "too many parameters"])
def test_what_was_refused_on_this_side_was_not_sent(driver: Driver, pg18: PostgresServer, what: str) -> None:
    async def begin(conn: Any) -> None:
        await conn.script("begin")

    async def scenario(pg: Driver) -> None:
        hook = begin if what == "on_acquire" else None
        async with pg.connect(pg18.dsn()) as conn, pg.Pool(pg18.dsn(), max_size=1, on_acquire=hook) as pool:
            batch = Batch()
            item = batch.queue("select 1")
            await conn.send_batch(batch)
            attempts: dict[str, Any] = {
                "a batch again": lambda: conn.send_batch(batch),
                "on_acquire": lambda: pool.fetchval("select 1"),
                "too many parameters": lambda: conn.fetchval("select 1", *range(65536)),
            }
            with pytest.raises(Error) as caught:
                await attempts[what]()
            assert caught.value.outcome is Outcome.NOT_SENT
            assert item.outcome is Outcome.COMMITTED

    driver.run(scenario)


@pytest.mark.holds("L8")
@pytest.mark.parametrize("in_block", [False, True], ids=["", "in a block"])
def test_a_copy_of_a_value_that_does_not_fit_is_undone(
    driver: Driver, pg18: PostgresServer, in_block: bool
) -> None:
    """It was sent: the column's type is known from the server's answer."""

    async def scenario(pg: Driver) -> None:
        name = f"undone_{pg.name}_{in_block}".lower()
        async with pg.connect(pg18.dsn()) as conn:
            await conn.script(f"create type {name} as enum ('a'); create table t_{name} (e {name})")
            if in_block:
                await conn.script("begin")
            with pytest.raises(DataError, match=f"record 2, .*{name}") as caught:
                await conn.copy_records(f"t_{name}", [("a",), (1,)], columns=["e"])
            assert caught.value.outcome is Outcome.NOT_COMMITTED
            if in_block:
                with pytest.raises(PostgresError, match="current transaction is aborted"):
                    await conn.fetchval("select 1")
                await conn.script("rollback")
            await conn.script(f"drop table t_{name}; drop type {name}")

    driver.run(scenario)


def test_a_binary_cursor_in_a_script(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            results = await conn.script(
                "begin; declare c binary cursor for select 1::int4, 'x'::text; fetch c; select 1; commit"
            )
            assert results[2].rows == [(1, "x")]
            assert results[3].rows == [("1",)]

    driver.run(scenario)
