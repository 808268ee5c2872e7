"""The example `examples/service` over HTTP, in this process: what it answers, and that no money is lost."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal
from typing import Any

import pytest
from alembic.util import CommandError
from bank import migrating
from opentelemetry.trace import SpanKind, StatusCode

from pgproto import Outcome
from tests.service.client import Collected, running
from tests.service.conftest import DATABASE
from tests.support.postgres import PostgresServer

# A transfer that waits for a lock.
WAITING = "select 1 from pg_stat_activity where query ~ 'INTO transfers' and wait_event = 'relation'"
CENTS = Decimal("0.01")
# A COMMIT that ends its own session, so that it is sent and not answered in good order.
DEADLY = """
create function die() returns trigger language plpgsql as
    'begin perform pg_terminate_backend(pg_backend_pid()); return null; end';
create constraint trigger deadly after insert on transfers deferrable initially deferred
    for each row execute function die()
"""


def test_migrations_go_both_ways_and_leave_nothing_to_autogenerate(empty: str, pg18: PostgresServer) -> None:
    tables = "select count(*) from pg_tables where schemaname = 'public' and tablename <> 'alembic_version'"
    migrating.upgrade(empty, "0001")
    with pytest.raises(CommandError, match="not up to date"):
        migrating.check(empty)
    migrating.upgrade(empty)
    migrating.check(empty)
    migrating.upgrade(empty)  # a second start
    pg18.query("alter table accounts add column forgotten text", dbname=DATABASE)
    with pytest.raises(CommandError, match="forgotten"):
        migrating.check(empty)
    pg18.query("alter table accounts drop column forgotten", dbname=DATABASE)
    assert pg18.query(tables, dbname=DATABASE) == [["2"]]
    migrating.downgrade(empty, "0001")
    assert pg18.query("select 1 where to_regclass('transfers_source') is null", dbname=DATABASE) == [["1"]]
    migrating.downgrade(empty, "base")
    assert pg18.query(tables, dbname=DATABASE) == [["0"]]


def test_two_processes_may_migrate_at_once(empty: str) -> None:
    async def scenario() -> None:
        await asyncio.gather(*(asyncio.to_thread(_upgrade_elsewhere, empty) for _ in range(2)))

    asyncio.run(scenario())
    migrating.check(empty)


def _upgrade_elsewhere(dsn: str) -> None:
    """In a process of its own: Alembic's context is global."""
    from tests.service.processes import bank

    assert bank(dsn, "upgrade").wait(60) == 0


def test_accounts_and_transfers(dsn: str) -> None:
    async def scenario() -> None:
        async with running(dsn) as client:
            assert (await client.http.get("/healthz")).json() == {"database": "ok"}
            one, two = await client.account("100.00", "one"), await client.account("0.50", "two")
            answer = await client.transfer(one, two, "30.25", "rent")
            assert answer.status_code == 201
            assert {name: answer.json()[name] for name in ("source", "target", "amount")} == {
                "source": one,
                "target": two,
                "amount": "30.25",
            }
            assert (await client.http.get(f"/accounts/{one}")).json() == {
                "id": one,
                "owner": "one",
                "balance": "69.75",
            }
            assert await client.balances([one, two]) == [Decimal("69.75"), Decimal("30.75")]

            again = await client.transfer(one, two, "30.25", "rent")
            assert (again.status_code, again.json()) == (200, answer.json())
            assert (await client.transfer(one, two, "30.26", "rent")).status_code == 422
            assert (await client.transfer(one, two, "69.76", "greed")).status_code == 409
            assert (await client.transfer(one, two + 1000, "1", "nobody")).status_code == 404
            for source, target, amount in ((one, one, "1"), (one, two, "-1"), (one, two, "0.001")):
                assert (await client.transfer(source, target, amount)).status_code == 422
            assert (await client.http.get(f"/accounts/{two + 1000}")).status_code == 404
            assert await client.balances([one, two]) == [Decimal("69.75"), Decimal("30.75")]
            # A refused transfer has not taken its key.
            assert (await client.transfer(one, two, "1", "greed")).status_code == 201

    asyncio.run(scenario())


def test_the_list_and_its_filters(dsn: str) -> None:
    async def scenario() -> None:
        async with running(dsn) as client:
            one, two, three = [await client.account("100") for _ in range(3)]
            for source, target, amount in ((one, two, "5"), (two, three, "7"), (three, one, "9.50")):
                await client.transfer(source, target, amount)
            amounts = [each["amount"] for each in await client.transfers()]
            assert amounts == ["5.00", "7.00", "9.50"]
            assert [each["amount"] for each in await client.transfers(account=one)] == ["5.00", "9.50"]
            assert [each["amount"] for each in await client.transfers(minimum="7")] == ["7.00", "9.50"]
            both = await client.transfers(account=two, minimum="6", limit=1)
            assert [each["amount"] for each in both] == ["7.00"]
            assert await client.transfers(since="2999-01-01T00:00:00Z") == []
            assert len(await client.transfers(since=both[0]["created_at"])) == 2
            assert (await client.http.get("/transfers", params={"limit": 1000})).status_code == 422

    asyncio.run(scenario())


def test_concurrent_transfers_lose_no_money(dsn: str) -> None:
    chosen = random.Random(15)

    async def scenario() -> None:
        async with running(dsn) as client:
            accounts = [await client.account("20.00") for _ in range(4)]
            orders = []
            for number in range(120):
                source, target = chosen.sample(accounts, 2)
                amount = str(CENTS * chosen.randrange(1, 1500))
                orders += [(source, target, amount, f"order {number}")] * chosen.choice((1, 1, 2))
            chosen.shuffle(orders)
            # More at once than there are connections, and no overload: on a slow machine that is a 503.
            room = asyncio.Semaphore(30)

            async def transfer(order: tuple[Any, ...]) -> Any:
                async with room:
                    return await client.transfer(*order)

            answers = await asyncio.gather(*(transfer(order) for order in orders))
            statuses = {answer.status_code for answer in answers}
            assert statuses == {200, 201, 409}
            stored = await client.transfers()
            assert len(stored) == sum(answer.status_code == 201 for answer in answers)
            for account, balance in zip(accounts, await client.balances(accounts), strict=True):
                moved = [Decimal(each["amount"]) for each in stored if each["target"] == account]
                moved += [-Decimal(each["amount"]) for each in stored if each["source"] == account]
                assert balance == 20 + sum(moved)
                assert balance >= 0
            assert sum(await client.balances(accounts)) == 80

    asyncio.run(scenario())


def test_a_commit_that_is_not_answered_is_told_as_it_is(dsn: str, pg18: PostgresServer) -> None:
    async def scenario() -> None:
        async with running(dsn) as client:
            one, two = await client.account("10"), await client.account("0")
            pg18.query(DEADLY, dbname=DATABASE)
            answer = await client.transfer(one, two, "3", "once")
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "1"
            done = [Decimal(7), Decimal(3)], [Decimal(10), Decimal(0)]
            assert await client.balances([one, two]) in done
            if Outcome(answer.json()["outcome"]) is not Outcome.UNKNOWN:
                assert await client.balances([one, two]) == done[1]
            pg18.query("drop trigger deadly on transfers", dbname=DATABASE)
            assert (await client.transfer(one, two, "3", "once")).status_code in (200, 201)
            assert await client.balances([one, two]) == done[0]

    asyncio.run(scenario())


def test_a_restart_of_the_database_in_the_middle(pg_restartable: PostgresServer) -> None:
    server = pg_restartable
    server.query(f"drop database if exists {DATABASE} with (force)")
    server.query(f"create database {DATABASE}")
    dsn = server.dsn(dbname=DATABASE)
    migrating.upgrade(dsn)

    async def scenario() -> None:
        async with running(dsn) as client:
            accounts = [await client.account("100") for _ in range(4)]
            held = "begin; lock table transfers in exclusive mode; select pg_sleep(60)"
            blocking = asyncio.create_task(asyncio.to_thread(_until_it_dies, server, held))
            await _eventually(server, "select 1 from pg_locks where relation > 0 and mode = 'ExclusiveLock'")
            work = [
                asyncio.create_task(client.until_done(accounts[n % 4], accounts[(n + 1) % 4], "1.25", f"{n}"))
                for n in range(40)
            ]
            await _eventually(server, WAITING)
            await asyncio.to_thread(server.stop, "immediate")
            await blocking
            down = await client.http.get("/healthz")
            assert (down.status_code, down.headers["Retry-After"]) == (503, "1")
            assert down.json()["outcome"] == Outcome.NOT_SENT.value
            await asyncio.to_thread(server.start)
            answers = await asyncio.gather(*work)
            repeated = [each for each in answers if len(each) > 1]
            assert repeated
            for each in answers:
                *before, last = each
                assert last.status_code in (200, 201)
                for answer in before:  # no COMMIT was under way: all had to wait for the lock
                    assert answer.json()["outcome"] != Outcome.UNKNOWN.value, answer.json()
                assert last.status_code == 201
            stored = await client.transfers()
            assert len(stored) == 40
            assert await client.balances(accounts) == [Decimal(100)] * 4

    asyncio.run(scenario())
    server.query(f"drop database {DATABASE} with (force)")


def _until_it_dies(server: PostgresServer, sql: str) -> None:
    with pytest.raises(Exception, match="server"):
        server.query(sql, dbname=DATABASE)


async def _eventually(server: PostgresServer, sql: str) -> None:
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(server.query, sql, dbname=DATABASE):
            pass


def test_queries_are_spans_in_the_span_of_their_request(dsn: str) -> None:
    found = Collected()
    caller = "4bf92f3577b34da6a3ce929d0e0e4736"

    async def scenario() -> None:
        async with running(dsn, found) as client:
            one, two = await client.account("10"), await client.account("10")
            found.spans()
            orders = [client.transfer(one, two, "0.25", f"secret {n}") for n in range(6)]
            answers = await asyncio.gather(*orders)
            assert [answer.status_code for answer in answers] == [201] * 6
            spans = found.spans()
            requests = {span.context.span_id: span for span in spans if span.kind is SpanKind.SERVER}
            queries = [span for span in spans if span.kind is SpanKind.CLIENT]
            assert [span.name for span in requests.values()] == ["POST /transfers"] * 6
            for number, request in requests.items():
                attributes = request.attributes or {}
                assert attributes["http.route"] == "/transfers"
                assert attributes["http.response.status_code"] == 201
                mine = [span for span in queries if span.parent and span.parent.span_id == number]
                names = [str(span.name) for span in sorted(mine, key=lambda span: span.start_time or 0)]
                assert f"INSERT {DATABASE}" in names
                assert names[-1] == f"COMMIT {DATABASE}"
                assert {span.context.trace_id for span in mine} == {request.context.trace_id}
            parents = {span.parent.span_id for span in queries if span.parent}
            assert parents == set(requests)
            assert "secret" not in "".join(span.to_json() for span in queries)

            header = {"traceparent": f"00-{caller}-00f067aa0ba902b7-01"}
            assert (await client.http.get("/accounts/0", headers=header)).status_code == 404
            (request,) = [span for span in found.spans() if span.kind is SpanKind.SERVER]
            assert f"{request.context.trace_id:032x}" == caller
            assert request.status.status_code is StatusCode.UNSET
            assert request.name == "GET /accounts/{number}"

            prefix = "db.client.connection."
            count = {
                (point.attributes[f"{prefix}pool.name"], point.attributes[f"{prefix}state"]): point.value
                for point in found.points(f"{prefix}count")
            }
            assert count["bank", "used"] == 0
            assert 1 <= count["bank", "idle"] <= 10
            durations = found.points("db.client.operation.duration")
            operations = {point.attributes.get("db.operation.name") for point in durations}
            assert {"INSERT", "COMMIT"} <= operations

    asyncio.run(scenario())
