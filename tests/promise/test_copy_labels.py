"""COPY whose text has other statements, or is no COPY of that direction: its label against the table."""

from __future__ import annotations

from typing import Any

import pytest

from pgproto import Error, Outcome
from pgproto_pytest import Driver
from tests.support.owned import Owned

C, T, U, F = Outcome.COMMITTED, Outcome.OK_IN_TX, Outcome.UNKNOWN, Outcome.FAILED


async def copy_in(conn: Any, sql: str) -> None:
    await conn.copy_in(sql, b"1\n")


async def copy_out(conn: Any, sql: str) -> None:
    async for _ in conn.copy_out(sql):
        pass


WRONG = [
    (copy_in, "{i}", C, [5]),
    (copy_out, "{i}", C, [5]),
    (copy_in, "begin; {i}; rollback", U, []),
    (copy_in, "copy {t} from stdin; commit; select 1/0", U, [1]),
    (copy_in, "copy {t} from stdin; select 1/0", F, []),
    (copy_in, "copy {t} from stdin; commit; copy {t} from stdin", U, [1]),
    (copy_in, "copy {t} from stdin; copy {t} from stdin", F, []),
    (copy_in, "copy ({i} returning n) to stdout", C, [5]),
    (copy_in, "{i}; commit; copy {t} to stdout", C, [5]),
    (copy_out, "{i}; commit; copy (select 1/0) to stdout", U, [5]),
    (copy_out, "{i}; commit; copy {t} from stdin", U, [5]),
    (copy_out, "{i}; copy {t} from stdin", F, []),
]


@pytest.mark.holds("L8")
@pytest.mark.parametrize(("copy", "sql", "outcome", "stored"), WRONG)
def test_outside_of_a_block(
    driver: Driver, owned: Owned, copy: Any, sql: str, outcome: Outcome, stored: list[int]
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            with pytest.raises(Error) as caught:
                await copy(conn, sql.format(t=owned.name, i=owned.insert(5)))
            assert caught.value.outcome is outcome
            assert conn.transaction_status == "I"
            assert owned.stored == stored
            assert await conn.fetchval("select 42") == 42

    driver.run(scenario)


@pytest.mark.holds("L8")
@pytest.mark.parametrize("copy", [copy_in, copy_out])
def test_what_is_no_copy_in_a_block(driver: Driver, owned: Owned, copy: Any) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            with pytest.raises(Error, match="the statement is not COPY") as caught:
                async with conn.transaction():
                    await copy(conn, owned.insert(5))
            assert caught.value.outcome is T
        assert owned.stored == []

    driver.run(scenario)


@pytest.mark.holds("L8")
@pytest.mark.parametrize(
    ("copy", "sql", "stored"),
    [
        (copy_in, "copy {t} from stdin; commit", [1]),
        (copy_in, "{i}; commit; copy {t} from stdin", [1, 5]),
        (copy_out, "{i}; commit; copy {t} to stdout", [5]),
    ],
)
def test_a_block_that_begins_with_a_copy_that_commits(
    driver: Driver, owned: Owned, copy: Any, sql: str, stored: list[int]
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            with pytest.raises(Error, match="statement in the transaction block has ended") as caught:
                async with conn.transaction():
                    await copy(conn, sql.format(t=owned.name, i=owned.insert(5)))
            assert caught.value.outcome is None
        assert owned.stored == stored

    driver.run(scenario)


def test_rows_are_counted_whatever_stands_around_the_copy(driver: Driver, owned: Owned) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            assert await conn.copy_in(f"copy {owned.name} from stdin; commit; select 1", b"1\n2\n") == 2
            async with conn.transaction():
                assert await conn.copy_in(f"copy {owned.name} from stdin", b"3\n") == 1
        assert owned.stored == [1, 2, 3]

    driver.run(scenario)
