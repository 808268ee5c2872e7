"""A program on psycopg's public API, as applications use it: on each implementation it must say the same."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import json
import sys
import threading
import uuid
from typing import Any

import psycopg
import psycopg_pool
from psycopg import sql
from psycopg.rows import dict_row, namedtuple_row
from psycopg.types.json import Jsonb

Said = list[Any]


def one(cursor: Any) -> Any:
    """The value of a row with one column."""
    return cursor.fetchone()[0]


async def one_of(cursor: Any) -> Any:
    """The value of a row with one column."""
    return (await cursor.fetchone())[0]


def queries(dsn: str, said: Said) -> None:
    """Values in both formats, row factories, errors with their diagnostics, server-side cursors."""
    values = [1, 2.5, "ünï", b"\0\xff", True, None, decimal.Decimal("1.50"), datetime.date(2020, 1, 2)]
    values += [uuid.UUID(int=5), [1, 2, None], Jsonb({"a": [1]}), datetime.timedelta(days=1, seconds=2)]
    with psycopg.connect(dsn) as conn:
        for binary in (False, True):
            for value in values:
                cursor: Any = conn.cursor(binary=binary)
                said.append(repr(cursor.execute("select %s as v", [value]).fetchone()))
        cursor = conn.cursor(row_factory=dict_row)
        said.append(cursor.execute("select 1 as a, 'x' as b").fetchall())
        said.append(one(conn.cursor(row_factory=namedtuple_row).execute("select 1 as a")))
        said.append(
            [
                (c.name, c.type_code, c.precision, c.scale)
                for c in cursor.execute("select 1.5::numeric(5,2) n").description
            ]
        )
        try:
            with conn.transaction():
                conn.execute("insert into nowhere values (1)")
        except psycopg.errors.UndefinedTable as error:
            said.append(
                [str(error), error.sqlstate, error.diag.message_primary, error.diag.statement_position]
            )
        with conn.cursor("server") as named:
            named.itersize = 7
            named.execute("select generate_series(1, 30)")
            said.append([sum(row[0] for row in named), named.rownumber])
        with conn.cursor("scroll", scrollable=True) as named:
            named.execute("select generate_series(1, 30)")
            named.scroll(10)
            said.append([named.fetchmany(2), named.fetchall()[-1]])
        said.append(
            conn.execute(sql.SQL("select {} as {}").format("it's \\", sql.Identifier('a"b'))).fetchone()
        )
        said.append([row[0] for row in conn.cursor().stream("select generate_series(1, 5)")])
        said.append([row[0] for row in conn.cursor().stream("select generate_series(1, 5)", size=2)])
        for _ in range(8):  # prepared on the way
            conn.execute("select %s::int4 + 1", [1])
        said.append(
            conn.execute("select count(*) from pg_prepared_statements where statement like '%+ 1'").fetchone()
        )
        said.append(conn.info.transaction_status.name)


def copies(dsn: str, said: Said) -> None:
    """COPY both ways, in text and binary, and one that fails."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("create temp table c (n int4, t text)")
        with conn.cursor() as cursor:
            with cursor.copy("copy c from stdin") as copy:
                for number in range(2000):
                    copy.write_row((number, f"row\t{number}\\" if number % 2 else None))
            said.append([cursor.rowcount, cursor.statusmessage])
            with cursor.copy("copy c from stdin (format binary)") as copy:
                copy.set_types(["int4", "text"])
                for number in range(100):
                    copy.write_row((number, "x" * number))
            with cursor.copy("copy (select n, t from c order by n, t limit 5) to stdout") as copy:
                copy.set_types(["int4", "text"])
                said.append(list(copy.rows()))
            with cursor.copy("copy c to stdout (format binary)") as copy:
                said.append(sum(len(block) for block in copy))
            try:
                with cursor.copy("copy c from stdin") as copy:
                    copy.write("x\ty\n")
            except psycopg.DataError as error:
                said.append(str(error))
            try:
                with cursor.copy("copy c from stdin") as copy:
                    raise ZeroDivisionError("mine")
            except ZeroDivisionError:
                said.append(conn.info.transaction_status.name)
            said.append(cursor.execute("select count(*) from c").fetchone())


def pipelines(dsn: str, said: Said) -> None:
    """Pipeline mode, with an error in the middle, and executemany in it."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        with conn.pipeline() as pipeline:
            cursors = [conn.execute("select %s::int4", [number]) for number in range(50)]
            pipeline.sync()
            said.append([one(cursor) for cursor in cursors][-3:])
        good, bad, late = conn.cursor(), conn.cursor(), conn.cursor()
        try:
            with conn.pipeline():  # the error comes at the third, or at the end: that depends on time
                good.execute("select 1")
                bad.execute("select 1 / 0")
                late.execute("select 2")
        except psycopg.Error as error:
            said.append([type(error).__name__, str(error)])
        said.append(good.fetchone())
        conn.execute("create temp table p (n int4 primary key)")
        cursor = conn.cursor()
        cursor.executemany("insert into p values (%s) returning n", [(n,) for n in range(20)], returning=True)
        found = [one(cursor)]
        while cursor.nextset():
            found.append(one(cursor))
        said.append([found, cursor.rowcount])
        try:
            cursor.executemany("insert into p values (%s)", [(100,), (1,), (101,)])
        except psycopg.errors.UniqueViolation as error:
            said.append(error.diag.constraint_name)
        said.append(conn.execute("select count(*) from p").fetchone())


def two_phases(dsn: str, said: Said) -> None:
    """Transactions: nested, by two phases, isolation levels, and a connection that was lost."""
    with psycopg.connect(dsn) as conn:
        conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        said.append(conn.execute("show transaction_isolation").fetchone())
        conn.rollback()
        with conn.transaction():
            conn.execute("create temp table s (n int4)")
            try:
                with conn.transaction("inner"):
                    conn.execute("insert into s values (1)")
                    raise psycopg.Rollback
            except psycopg.Rollback:
                pass
            conn.execute("insert into s values (2)")
        said.append(conn.execute("select n from s").fetchall())
        conn.rollback()
        other = psycopg.connect(dsn, autocommit=True)
        other.execute("select pg_terminate_backend(%s)", [conn.info.backend_pid])
        try:
            while True:
                conn.execute("select 1")
        except psycopg.OperationalError as error:
            said.append([type(error).__name__, error.sqlstate, conn.closed, conn.broken])
        other.close()


def notifications(dsn: str, said: Said) -> None:
    """LISTEN by generator and by handler, notices, and cancel requests."""
    with psycopg.connect(dsn, autocommit=True) as conn, psycopg.connect(dsn, autocommit=True) as other:
        notices: Said = []
        conn.add_notice_handler(lambda diag: notices.append(diag.message_primary))
        conn.execute("do $$ begin raise notice 'hello'; end $$")
        said.append(notices)
        conn.execute("listen ch")
        for payload in ("a", "b"):
            other.execute("select pg_notify('ch', %s)", [payload])
        said.append([notify.payload for notify in conn.notifies(timeout=10, stop_after=2)])
        canceller = threading.Timer(0.3, conn.cancel_safe)
        canceller.start()
        try:
            conn.execute("select pg_sleep(30)")
        except psycopg.errors.QueryCanceled as error:
            said.append(str(error))
        canceller.join()
        said.append(conn.execute("select 1").fetchone())


def pools(dsn: str, said: Said) -> None:
    """psycopg_pool, by threads."""
    with psycopg_pool.ConnectionPool(dsn, min_size=2, max_size=3) as pool:
        pool.wait()
        found: Said = []

        def work(number: int) -> None:
            with pool.connection() as conn:
                found.append(one(conn.execute("select %s::int4", [number])))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        said.append(sorted(found))
        with pool.connection() as conn:
            conn.close()
        pool.check()
        with pool.connection() as conn:
            said.append(conn.execute("select 1").fetchone())


async def asynchronous(dsn: str, said: Said) -> None:
    """The same with asyncio: queries at once, COPY, pipeline, cancel, LISTEN, pool."""
    async with psycopg_pool.AsyncConnectionPool(dsn, min_size=2, max_size=4, open=False) as pool:
        await pool.wait()

        async def work(number: int) -> int:
            async with pool.connection() as conn:
                return int(await one_of(await conn.execute("select %s::int4", [number])))

        said.append(await asyncio.gather(*[work(number) for number in range(12)]))
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        async with conn.pipeline():
            cursors = [await conn.execute("select %s::text", ["x" * number]) for number in range(5)]
            said.append([await cursor.fetchone() for cursor in cursors])
        cursor = conn.cursor()
        await cursor.execute("create temp table a (n int4)")
        async with cursor.copy("copy a from stdin") as copy:
            for number in range(10):
                await copy.write_row((number,))
        said.append([row async for row in cursor.stream("select n from a order by n")])
        async with conn.cursor("server") as named:
            pass
        async with conn.transaction(), conn.cursor("server") as named:
            await named.execute("select generate_series(1, 300)")
            said.append(len(await named.fetchall()))
        task = asyncio.create_task(conn.execute("select pg_sleep(30)"))
        await asyncio.sleep(0.3)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            said.append("cancelled")
        said.append(await (await conn.execute("select 1")).fetchone())
        await conn.execute("listen ch")
        await conn.execute("notify ch, 'p'")
        said.append([notify.payload async for notify in conn.notifies(timeout=10, stop_after=1)])
        large = "y" * 2_000_000
        said.append(len(await one_of(await conn.execute("select %s", [large]))))
    try:
        await psycopg.AsyncConnection.connect("host=127.0.0.1 port=1 connect_timeout=3")
    except psycopg.OperationalError as error:
        said.append("Connection refused" in str(error))


def main() -> None:
    """Run all, and print what was said as JSON."""
    dsn = sys.argv[1]
    told: dict[str, Said] = {}
    for each in (queries, copies, pipelines, two_phases, notifications, pools):
        each(dsn, told.setdefault(each.__name__, []))
    asyncio.run(asynchronous(dsn, told.setdefault("asynchronous", [])))
    json.dump(told, sys.stdout, default=str)


if __name__ == "__main__":
    main()
