"""Several callers on one connection behind a real pooler: each gets its own rows, and nothing else is stored.

PgBouncer 1.18 in transaction or statement mode gives the server away at each ReadyForQuery, although more of
the same client is half forwarded; so there nothing may follow before it.  1.24 counts, and is pipelined.
Few servers behind it and parameters larger than its buffers make a mistake likely to show.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import random
import threading
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

import pgproto_blocking
from pgproto import Batch, DataError, Outcome, PostgresError, QueryTimeout
from pgproto_pytest import Driver
from tests.support import pgbouncer
from tests.support.pgbouncer import PgBouncer, PoolMode, Version
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy

VERSIONS: tuple[Version, ...] = ("1.18", "1.24")
MODES: tuple[PoolMode, ...] = ("session", "transaction", "statement")
RIGHT = (("1.18", "session"), *(("1.24", mode) for mode in MODES))
CONNECTIONS = 4
CALLERS = 6
ROUNDS = 8

# What a parameter must not be taken for, and not be mixed up with: messages.
POISON = b"Q\0\0\0\x2dinsert into poolers values (-1, 'poison', 0)\0" + b"X\0\0\0\4" + b"S\0\0\0\4"


@pytest.fixture(params=[(v, m) for v in VERSIONS for m in MODES], ids=lambda pair: " ".join(pair))
def bouncer(request: pytest.FixtureRequest, pg18: PostgresServer) -> Iterator[PgBouncer]:
    """Each version in each mode, with half as many servers as clients."""
    version, mode = request.param
    reason = pgbouncer.missing(version)
    if reason is not None:
        pytest.skip(reason)
    settings = {"default_pool_size": "2" if mode != "session" else "20", "pkt_buf": "4096"}
    with PgBouncer(pg18, mode, version=version, settings=settings) as started:
        yield started


class Account:
    """What was stored by whom, as the callers were told."""

    def __init__(self, table: str) -> None:
        self.table = table
        self.outcomes: dict[int, Outcome | None] = {}
        self.wrong: list[str] = []
        self.errors: list[Exception] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def new(self) -> int:
        """An id that nobody else has."""
        with self._lock:
            return next(self._numbers)

    def check(self, server: PostgresServer) -> None:
        """Compare with the table."""
        stored = {int(row[0]) for row in server.query(f"select id from {self.table}")}
        told = {number for number, outcome in self.outcomes.items() if outcome is Outcome.COMMITTED}
        doubtful = {number for number, outcome in self.outcomes.items() if outcome is Outcome.UNKNOWN}
        assert not self.wrong, self.wrong[:5]
        assert told <= stored, "acknowledged and lost"
        assert stored <= told | doubtful, "stored, and nobody was told"


async def echo(account: Account, conn: Any, dice: random.Random) -> None:
    """A parameter comes back as it is."""
    number = account.new()
    value = POISON * dice.choice([1, 99, 999, 3000]) + str(number).encode()
    row = await conn.fetchrow(f"select $1::bytea, $2::int8, {dice.randrange(9)} as variant", value, number)
    if (row[0], row[1]) != (value, number):
        account.wrong.append(f"{number} got {row[1]}, {len(row[0])} bytes")


async def store(account: Account, conn: Any, dice: random.Random) -> None:
    """One row."""
    number = account.new()
    note = POISON * dice.choice([1, 99, 999])
    try:
        await conn.execute(f"insert into {account.table} values ($1, $2)", number, note)
    except Exception as error:
        account.outcomes[number] = getattr(error, "outcome", None)
        raise
    account.outcomes[number] = Outcome.COMMITTED


async def batch(account: Account, conn: Any, dice: random.Random) -> None:
    """Rows in a batch that isolates its errors, one of which fails."""
    work = Batch(atomic=False)
    numbers = [account.new() for _ in range(4)]
    items = []
    for number in numbers:
        if number == numbers[2]:
            work.queue("select 1 / $1::int4", 0)
        items.append(work.queue(f"insert into {account.table} values ($1, $2)", number, POISON))
        ask = work.queue(f"select $1::int8 + {dice.randrange(9)} * 0", number)
        items.append(ask)
    try:
        await conn.send_batch(work)
    finally:
        for number, item in zip(numbers, items[::2], strict=True):
            account.outcomes[number] = item.outcome
        for number, item in zip(numbers, items[1::2], strict=True):
            if item.rows and [tuple(row) for row in item.rows] != [(number,)]:
                account.wrong.append(f"the item of {number} got {item.rows}")


async def late(account: Account, conn: Any, dice: random.Random) -> None:
    """A caller that does not wait for its answer: nobody else may get it."""
    number = account.new()
    patience = dice.choice([0.001, 0.01])
    with contextlib.suppress(QueryTimeout):
        row = await conn.fetchrow("select $1::int8, pg_sleep($2)", number, 0.02, timeout=patience)
        if row[0] != number:
            account.wrong.append(f"{number} got {row[0]}")


WORKS = (echo, echo, store, batch, late)


def allowed(error: Exception, named: bool, bouncer: PgBouncer) -> bool:
    """Named statements are not there on another server of a pooler that does not follow them."""
    if not named or bouncer.pool_mode == "session" or bouncer.version == "1.24":
        return False
    return isinstance(error, PostgresError) and error.sqlstate in ("26000", "42P05")


@pytest.mark.holds("L1")
@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
def test_concurrent_callers_of_few_connections(
    bouncer: PgBouncer, pg18: PostgresServer, driver: Driver, named: bool
) -> None:
    concurrent_callers(bouncer, pg18, driver, named, None)


@pytest.mark.holds("L1")
@pytest.mark.parametrize("bouncer", RIGHT, ids=" ".join, indirect=True)
@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
def test_pipelining_where_it_is_known_to_be_right(
    bouncer: PgBouncer, pg18: PostgresServer, driver: Driver, named: bool
) -> None:
    """Where the README says so: in session mode, and behind 1.24."""
    concurrent_callers(bouncer, pg18, driver, named, True)


def concurrent_callers(
    bouncer: PgBouncer, pg18: PostgresServer, driver: Driver, named: bool, pipelining: bool | None
) -> None:
    table = f"poolers_{driver.name}_{bouncer.port}_{int(named)}_{int(pipelining or False)}"
    pg18.query(f"create table {table} (id bigint, note bytea)")
    account = Account(table)

    async def caller(conn: Any, number: int) -> None:
        dice = random.Random(number)
        for _ in range(ROUNDS):
            try:
                await dice.choice(WORKS)(account, conn, dice)
            except PostgresError as error:
                if not allowed(error, named, bouncer):
                    account.errors.append(error)

    async def scenario(pg: Driver) -> None:
        dsn = bouncer.dsn(user="postgres")
        async with contextlib.AsyncExitStack() as stack:
            callers = CALLERS if pg.asynchronous else 1
            works = []
            for number in range(CONNECTIONS if pg.asynchronous else 2 * CONNECTIONS):
                context = pg.connect(
                    dsn,
                    statement_mode="cache_statement" if named else "cache_describe",
                    pipelining=pipelining,
                )
                conn = await stack.enter_async_context(context)
                assert conn.engine.pipelining == (pipelining or (named and bouncer.version == "1.24"))
                works += [functools.partial(caller, conn, 100 * number + each) for each in range(callers)]
            assert await pg.together(*works) == [None] * len(works)

    driver.run(scenario, deadline=60)
    assert not account.errors, account.errors[:3]
    account.check(pg18)
    assert "invalid frontend message" not in bouncer.log_text()
    pg18.query(f"drop table {table}")


@pytest.mark.holds("L1", "L12")
@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
def test_a_table_that_changes_under_a_statement_that_is_known(
    pg18: PostgresServer, driver: Driver, named: bool
) -> None:
    """What has no name is parsed anew by the server, which refuses nothing then."""
    table = f"changing_{driver.name}_{int(named)}"

    async def scenario(pg: Driver) -> None:
        async with pg.connect(
            pg18.dsn(), statement_mode="cache_statement" if named else "cache_describe"
        ) as conn:
            sql = f"select * from {table}"
            for columns, values, expected in (
                ("a int4", "1", (1,)),
                ("a text", "'abcd'", ("abcd",)),
                ("a int4, b date", "2, '2020-01-01'", (2, date(2020, 1, 1))),
                ("a tsvector", "'a'", ("'a'",)),
                ("a int8", "3", (3,)),
            ):
                pg18.query(f"drop table if exists {table}; create table {table} ({columns})")
                pg18.query(f"insert into {table} values ({values})")
                for attempt in range(3):
                    try:
                        row = await conn.fetchrow(sql)
                    except (DataError, PostgresError):
                        assert attempt == 0
                    else:
                        assert tuple(row) == expected

    driver.run(scenario)
    pg18.query(f"drop table {table}")


TABLES: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    ("a int4, b text", "1, 'one'", (1, "one")),
    ("a int8, b text", "2, 'two'", (2, "two")),
    ("a float4, b text", "3, 'three'", (3.0, "three")),
    ("b text, a int4", "'four', 4", ("four", 4)),
    ("a int4, c date, b text", "5, '2020-01-01', 'five'", (5, date(2020, 1, 1), "five")),
    ("a int4, b tsvector", "6, 'six'", (6, "'six'")),
)


@pytest.mark.holds("L1", "L12")
@pytest.mark.parametrize("kept", [False, True], ids=["cached", "kept"])
@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
def test_a_migration_that_a_pooler_hides(
    pg18: PostgresServer, driver: Driver, mode: PoolMode, kept: bool
) -> None:
    """It prepares the old text on a server that has not got it, whatever the text means there by now."""
    if (reason := pgbouncer.missing("1.24")) is not None:
        pytest.skip(reason)
    told: list[str] = []

    async def scenario(pg: Driver) -> None:
        with pgproto_blocking.connect(pg18.dsn()) as owner:
            await migrations(pg, owner)

    async def migrations(pg: Driver, owner: pgproto_blocking.Connection) -> None:
        async with pg.connect(bouncer.dsn()) as conn:
            for (before, _, _), (after, values, expected) in itertools.permutations(TABLES, 2):
                table = f"migrated_{driver.name}_{mode}_{kept}_{next(numbers)}"
                owner.script(f"create table {table} ({before}); insert into {table} (a) values (1)")
                select = f"select * from {table} where $1::int4 > 0"
                insert = f"insert into {table} (a) values ($1)"
                if kept:
                    select, insert = await conn.prepare(select), await conn.prepare(insert)
                await conn.fetch(select, 1)
                await conn.execute(insert, 7)
                await conn.executemany(insert, [(7,)])
                owner.script(f"drop table {table}; create table {table} ({after})")
                for _ in range(4):
                    owner.script(f"truncate {table}; insert into {table} values ({values})")
                    with noted(told, f"{before} -> {after}"):
                        assert tuple((await conn.fetch(select, 1))[0]) == expected
                    for run, value in ((conn.execute, 7), (conn.executemany, [(7,)])):
                        owner.script(f"truncate {table}")
                        with noted(told, f"{before} -> {after}"):
                            await run(insert, value)
                            (stored,) = owner.script(f"select a from {table}")
                            assert list(map(tuple, stored.rows)) == [("7",)]
                owner.script(f"drop table {table}")

    numbers = itertools.count()
    settings = {"default_pool_size": "2", "min_pool_size": "2", "server_round_robin": "1"}
    with PgBouncer(pg18, mode, version="1.24", settings=settings) as bouncer:
        driver.run(scenario, deadline=60)
    assert len(told) == len(set(told)), "once is enough"
    assert all(each.endswith("run it again") for each in told), told


@contextlib.contextmanager
def noted(told: list[str], what: str) -> Iterator[None]:
    """An error that says so is no lie."""
    try:
        yield
    except (DataError, PostgresError) as error:
        told.append(f"{what}: {error}")


@pytest.mark.holds("D5")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_pool_asks_for_the_protocol_once(pg18: PostgresServer, driver: Driver, version: Version) -> None:
    reason = pgbouncer.missing(version)
    if reason is not None:
        pytest.skip(reason)

    async def scenario(pg: Driver) -> None:
        dsn = bouncer.dsn(port=proxy.port)
        async with pg.Pool(dsn, min_size=1, max_size=1) as pool:
            assert await pool.fetchval("select 1") == 1
            first = proxy.connections
            assert first == (2 if version == "1.18" else 1)
            for number in range(3):
                async with pool.acquire() as conn:
                    await conn.close()
                assert await pool.fetchval("select 1") == 1
                assert proxy.connections == first + 1 + number

    with PgBouncer(pg18, version=version) as bouncer, Proxy((bouncer.host, bouncer.port)) as proxy:
        driver.run(scenario)
    assert bouncer.version == version
