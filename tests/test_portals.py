"""Portals: what is on the wire, and how they end."""

from __future__ import annotations

import pytest

from pgproto import DataError, LocalProtocolError, Outcome, PostgresError
from pgproto.session import Fetch, Portal, QueuedQuery, Script, Transaction
from tests.support.backend import Answer, error_fields, ok, rows_of
from tests.support.flows import run_flow
from tests.support.pair import Pair
from tests.support.queries import query

SCRIPT = {
    "select five": rows_of(1, 2, 3, 4, 5),
    "select none": rows_of(),
    "select $1": Answer("SELECT 1", types=[23], columns=[("n", 23)], rows=[[b"\0\0\0\7"]]),
    "select 1": rows_of(1),
    "insert": ok(),
    "wrong": Answer("SELECT 2", columns=[("n", 23)], rows=[[b"\0\0\0\7"], [b"\0"]]),
    "bad": Answer("SELECT 0", columns=[("n", 23)], error=error_fields("22012")),
    "fetch c": Answer("FETCH 1", columns=[("n", 23)], rows=[[b"\0\0\0\7"]], late=True),
}


def sent(pair: Pair) -> list[str]:
    """What the client has sent since the last call."""
    lines = [line.split("\t", 2)[2].replace("\t ", " ") for line in pair.trace() if line.startswith("F")]
    pair.log.clear()
    return lines


def values(fetch: Fetch) -> list[int]:
    if fetch.error is not None:
        raise fetch.error
    rows, error = fetch.take()
    assert error is None
    return [row[0] for row in rows]


@pytest.fixture
def pair() -> Pair:
    return Pair(SCRIPT)


def test_golden_a_portal_is_fetched_piece_by_piece(pair: Pair) -> None:
    block = Transaction(pair.engine)
    block.enter()
    portal = Portal(QueuedQuery("select five", ()))
    name = portal.name
    assert values(pair.run(portal.fetch(pair.engine, 2))) == [1, 2]
    assert sent(pair) == [
        'Parse "" "BEGIN" 0',
        'Bind "" "" 0 0 0',
        'Execute "" 0',
        'Parse "s1" "select five" 0',
        'Describe S "s1"',
        "Sync",
        f'Bind "{name}" "s1" 0 0 1 1',
        f'Execute "{name}" 2',
        "Sync",
    ]
    assert pair.run(query("insert")).items[0].outcome is Outcome.OK_IN_TX
    sent(pair)
    second = pair.run(portal.fetch(pair.engine, 2))
    assert values(second) == [3, 4]
    assert second.items[0].outcome is Outcome.OK_IN_TX
    assert sent(pair) == [f'Execute "{name}" 2', "Sync"]
    ends = [portal.done]
    assert values(pair.run(portal.fetch(pair.engine, 2))) == [5]
    assert [*ends, portal.done] == [False, True]
    assert portal.given == 5
    portal.close()
    portal.close()
    sent(pair)
    pair.run(query("select 1"))
    assert [line for line in sent(pair) if line.startswith("Close")] == [f'Close P "{name}"']
    assert pair.backend.portals == {}
    run_flow(pair, block.commit())
    assert pair.engine.reusable


def test_a_portal_is_closed_before_a_simple_query_too(pair: Pair) -> None:
    pair.run(query("begin"))
    portal = Portal(QueuedQuery("select five", ()))
    pair.run(portal.fetch(pair.engine, 2))
    portal.close()
    sent(pair)
    pair.run(Script("insert"))
    assert sent(pair) == [f'Close P "{portal.name}"', 'Query "insert"']


def test_a_portal_of_a_block_that_has_ended_needs_no_close(pair: Pair) -> None:
    block = Transaction(pair.engine)
    block.enter()
    portal = Portal(QueuedQuery("select five", ()))
    pair.run(portal.fetch(pair.engine, 2))
    run_flow(pair, block.commit())
    with pytest.raises(LocalProtocolError, match="has ended") as caught:
        portal.fetch(pair.engine, 1)
    assert caught.value.outcome is Outcome.NOT_SENT
    portal.close()
    statement = portal.statement
    assert statement is not None
    assert statement.users == 1
    sent(pair)
    pair.run(query("select 1"))
    assert not [line for line in sent(pair) if line.startswith("Close")]
    assert statement.users == 0


def test_without_a_transaction_nothing_is_sent(pair: Pair) -> None:
    portal = Portal(QueuedQuery("select five", ()))
    with pytest.raises(LocalProtocolError, match="lives in a transaction") as caught:
        portal.fetch(pair.engine, 1)
    assert caught.value.outcome is Outcome.NOT_SENT
    portal.close()
    with pytest.raises(LocalProtocolError, match="closed"):
        portal.fetch(pair.engine, 1)
    assert sent(pair) == []
    assert pair.engine.channel.left == []


def test_its_statement_is_not_closed_while_it_is_open() -> None:
    pair = Pair(SCRIPT, cache=1)
    pair.run(query("begin"))
    portal = Portal(QueuedQuery("select $1", (7,)))
    pair.run(portal.fetch(pair.engine, 1))
    for sql in ("select 1", "insert", "select none"):  # none of which fits into the cache beside it
        pair.run(query(sql))
    assert 'Close S "s2"' not in sent(pair)
    assert values(pair.run(portal.fetch(pair.engine, 1))) == []
    portal.close()
    pair.run(query("select 1"))
    pair.run(query("insert"))
    lines = sent(pair)
    assert f'Close P "{portal.name}"' in lines
    assert 'Close S "s2"' in lines


@pytest.mark.parametrize(("sql", "error"), [("bad", PostgresError), ("wrong", DataError)])
def test_errors(pair: Pair, sql: str, error: type[Exception]) -> None:
    pair.run(query("begin"))
    portal = Portal(QueuedQuery(sql, ()))
    fetch = pair.run(portal.fetch(pair.engine, 5))
    assert isinstance(fetch.error, error)


def test_rows_come_as_they_were_described_when_it_was_opened(pair: Pair) -> None:
    pair.run(query("begin"))
    portal = Portal(QueuedQuery("select five", (), into=int))
    first = pair.run(portal.fetch(pair.engine, 2))
    assert first.take() == ([1, 2], None)
    assert first.size > 0
    pair.engine.channel.statements.forget_all()
    assert pair.run(portal.fetch(pair.engine, 9)).take() == ([3, 4, 5], None)


def test_a_statement_that_is_described_late(pair: Pair) -> None:
    pair.run(query("begin"))
    portal = Portal(QueuedQuery("fetch c", ()))
    assert values(pair.run(portal.fetch(pair.engine, 5))) == [7]
    assert portal.done
