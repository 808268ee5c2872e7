"""Seeing: observers, traces, and what errors tell of their statements.

The collection of what pgx's tests assert has its QueryTracer, BatchTracer, CopyFromTracer and the pool's
AcquireTracer; these behaviours ask for what they ask for.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

import pgproto
from pgproto import DataError, Exchange, Move, Outcome, PoolObserver, PoolTimeout, PostgresError, Wait
from pgproto_pytest.behaviour import Database, behaviour
from pgproto_pytest.driver import Driver

_CALLER: ContextVar[str] = ContextVar("caller", default="nobody")


class Seen(PoolObserver):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.open: set[int] = set()
        self.callers: dict[str, str] = {}
        self.moves: list[Move] = []
        self.waits: list[Wait] = []

    def submitted(self, exchange: Exchange) -> None:
        """It is under way."""
        self.open.add(id(exchange))
        self.callers[exchange.sql] = _CALLER.get()

    def ended(self, exchange: Exchange) -> None:
        """It is not any more."""
        self.open.remove(id(exchange))
        self.exchanges.append(exchange)

    def moved(self, move: Move) -> None:
        """A slot has moved."""
        self.moves.append(move)

    def served(self, wait: Wait) -> None:
        """A wait has ended."""
        self.waits.append(wait)

    def take(self) -> list[tuple[str, str, int, Outcome | None]]:
        """What has ended since the last call; nothing is under way."""
        assert self.open == set()
        ended, self.exchanges = self.exchanges, []
        for exchange in ended:
            at = [exchange.submitted_at, exchange.sent_at, exchange.answered_at, exchange.ended_at]
            known = [time for time in at if time is not None]
            assert known == sorted(known)
        return [(each.sql, each.tag, each.rows, each.outcome) for each in ended]


@behaviour
async def o01_each_call_is_seen_once(pg: Driver, db: Database) -> None:
    table = db.make_table("a int")
    seen = Seen()
    done, in_block = Outcome.COMMITTED, Outcome.OK_IN_TX
    async with pg.connect(db.dsn, observers=seen) as conn:
        assert await conn.fetchval("select $1::int", 7) == 7
        assert seen.exchanges[0].session.pid == conn.pid
        assert seen.take() == [("select $1::int", "SELECT 1", 1, done)]
        await conn.executemany(f"insert into {table} values ($1)", [(1,), (2,), (3,)])
        assert seen.take() == [(f"insert into {table} values ($1)", "", 3, done)]
        await conn.copy_in(f"copy {table} from stdin", b"4\n5\n")
        assert seen.take() == [(f"copy {table} from stdin", "COPY 2", 2, done)]
        batch = pgproto.Batch()
        batch.queue("select 1")
        batch.queue(f"select a from {table}")
        await conn.send_batch(batch)
        assert seen.take() == [(f"select 1;\nselect a from {table}", "SELECT 5", 6, done)]
        async with conn.transaction():
            await conn.script("select 1; select 2")
        assert seen.take() == [("select 1; select 2", "SELECT 1", 2, in_block), ("COMMIT", "COMMIT", 0, done)]
        assert [row[0] async for row in conn.stream(f"select a from {table} order by a")] == [1, 2, 3, 4, 5]
        assert seen.take() == [(f"select a from {table} order by a", "SELECT 5", 5, done)]
        with pytest.raises(PostgresError) as caught:
            await conn.fetch("select 1 / $1::int", 0)
        assert seen.exchanges[0].error is caught.value
        assert seen.take() == [("select 1 / $1::int", "", 0, Outcome.FAILED)]
        with pytest.raises(DataError):
            await conn.fetch("select $1::int", "x")
        assert seen.take() == [("select $1::int", "", 0, Outcome.NOT_SENT)]
        with pytest.raises(pgproto.QueryTimeout):
            await conn.fetch("select pg_sleep(60)", timeout=0.2)
        ((sql, _, _, outcome),) = seen.take()
        assert (sql, outcome) == ("select pg_sleep(60)", Outcome.FAILED)


@behaviour
async def o02_sizes_and_times(pg: Driver, db: Database) -> None:
    seen = Seen()
    async with pg.connect(db.dsn, observers=[seen]) as conn:
        await conn.fetchval("select length($1), pg_sleep(0.05)", "x" * 100_000)
        await conn.fetchval("select repeat('x', 300000)")
    first, second = seen.exchanges
    assert 100_000 < first.bytes_out < 101_000
    assert first.bytes_in < 1000
    assert 300_000 < second.bytes_in < 301_000
    assert second.bytes_out < 1000
    assert first.seconds is not None
    assert 0.05 <= first.seconds < 5.0


@behaviour
async def o03_observers_see_the_context_of_the_caller(pg: Driver, db: Database) -> None:
    seen = Seen()
    async with pg.Pool(db.dsn, observers=seen, min_size=0, max_size=3) as pool:

        def work(name: str) -> Any:
            async def run() -> None:
                _CALLER.set(name)
                await pool.fetch(f"select '{name}', pg_sleep(0.01)")

            return run

        names = [f"caller {n}" for n in range(9)]
        assert await pg.together(*map(work, names)) == [None] * 9
        assert seen.callers == {f"select '{name}', pg_sleep(0.01)": name for name in names}
    assert len(seen.take()) == 9


@behaviour
async def o04_a_pool_is_seen(pg: Driver, db: Database) -> None:
    seen = Seen()
    async with pg.Pool(db.dsn, observers=seen, min_size=0, max_size=1) as pool:
        async with pool.acquire() as conn:
            await conn.execute("begin")
            with pytest.raises(PoolTimeout):
                await pool.fetchval("select 1", timeout=0.05)
        assert await pool.fetchval("select 1") == 1
    told = sorted(seen.moves, key=lambda move: move.at)  # threads may tell in another order
    moves = [(move.slot, move.before, move.after, move.reason) for move in told]
    assert moves == [
        *((1, "", "opening", ""), (1, "opening", "idle", ""), (1, "idle", "used", "")),
        *((1, "used", "closing", "in_transaction"), (1, "closing", "closed", "")),
        *((2, "", "opening", ""), (2, "opening", "idle", ""), (2, "idle", "used", "")),
        *((2, "used", "idle", ""), (2, "idle", "closing", "closed"), (2, "closing", "closed", "")),
    ]
    assert [(wait.state, wait.slot, type(wait.error)) for wait in seen.waits] == [
        *(("granted", 1, type(None)), ("failed", 0, PoolTimeout), ("granted", 2, type(None))),
    ]
    assert 0.05 <= seen.waits[1].seconds < 5.0


@behaviour
async def o05_a_trace_of_the_wire(pg: Driver, db: Database) -> None:
    lines: list[str] = []
    async with pg.connect(db.dsn, trace=lines.append) as conn:
        await conn.fetchval("select 1")  # an older server is asked first whether it is a pooler
        lines.clear()
        assert await conn.fetchval("select 'x' as a") == "x"
        parse = next(index for index, line in enumerate(lines) if "\tParse\t" in line and "'x' as a" in line)
        kinds = [tuple(line.split("\t")[::2][:2]) for line in lines[parse:]]
        assert kinds == [
            *(("F", "Parse"), ("F", "Describe"), ("F", "Sync")),
            *(("B", "ParseComplete"), ("B", "ParameterDescription"), ("B", "RowDescription")),
            *(("B", "ReadyForQuery"), ("F", "Bind"), ("F", "Execute"), ("F", "Sync"), ("B", "BindComplete")),
            *(("B", "DataRow"), ("B", "CommandComplete"), ("B", "ReadyForQuery")),
        ]
        assert lines[-3:] == [
            "B\t11\tDataRow\t 1 1 'x'",
            'B\t13\tCommandComplete\t "SELECT 1"',
            "B\t5\tReadyForQuery\t I",
        ]


@behaviour
async def o06_an_error_knows_its_statement(pg: Driver, db: Database) -> None:
    table = db.make_table("a int")
    async with pg.connect(db.dsn) as conn:
        text = "select 'ä😀',\n  wrong from pg_class where relname = $1"
        prepared = await conn.prepare("select 1 / $1::int")
        batch = pgproto.Batch()
        batch.queue("select 1")
        batch.queue("select missing")
        records, insert = [(1,)], "insert into nowhere values ($1)"
        calls: list[tuple[Callable[[], Any], str, str]] = [
            (lambda: conn.fetch(text, "hush"), text, "LINE 2:   wrong from pg_class where relname = $1"),
            (lambda: conn.script("select 1; select nothing"), "select 1; select nothing", "LINE 1: "),
            (lambda: conn.send_batch(batch), "select missing", "LINE 1: select missing"),
            (lambda: conn.copy_in("copy nowhere from stdin", b""), "copy nowhere from stdin", ""),
            (lambda: conn.executemany(insert, records), insert, "LINE 1: insert into nowhere"),
            (lambda: prepared.fetch(0), "select 1 / $1::int", ""),
        ]
        for call, sql, line in calls:
            with pytest.raises(PostgresError) as caught:
                await call()
            error = caught.value
            assert error.query == sql
            assert line in error.report()
            assert sql not in str(error)
            assert "hush" not in str(error) + error.report()
        with pytest.raises(PostgresError) as caught:
            await conn.fetch(text, "hush")
        marked, caret = caught.value.report().splitlines()[1:3]
        assert marked[caret.index("^") :].startswith("wrong")
        with pytest.raises(PostgresError) as caught:
            await conn.copy_in(f"copy {table} from stdin", b"x\n")
        assert f"CONTEXT:  COPY {table}, line 1, column a" in caught.value.report()
