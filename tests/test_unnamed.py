"""Statements without names: each run parses its text again, and what it returns may have changed since.

The server does not refuse that, as it does for a statement that it has kept, so the client has to look.
"""

from __future__ import annotations

import pytest

from pgproto import DataError, Outcome, PostgresError
from pgproto.session import Execution, Prepare, QueuedQuery, Stream
from pgproto.session.statements import Statement
from pgproto.wire import Describe
from tests.support.backend import INT4, TEXT, Answer, int4, rows_of
from tests.support.pair import Pair, byte_by_byte, whole
from tests.support.queries import batch, error_of, query, rows

pytestmark = pytest.mark.holds("L1", "L12")

TSVECTOR = 3614  # pgproto has no codec for it, so it travels as text
TWO = Answer(columns=[("a", INT4), ("b", INT4)], rows=[[int4(1), int4(2)]])
CHANGED = Answer(columns=[("a", TEXT)], rows=[[b"abcd"]])
UNREADABLE = Answer(columns=[("a", TSVECTOR)], rows=[[b"abcd"]])


@pytest.fixture(params=[whole, byte_by_byte], ids=["whole", "bytes"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair({"q": rows_of(7), "other": rows_of(8)}, named=False, chop=request.param)


@pytest.mark.parametrize("answer", [CHANGED, TWO])
@pytest.mark.parametrize("atomic", [True, False])
def test_other_columns_are_decoded_as_what_they_are(pair: Pair, answer: Answer, atomic: bool) -> None:
    pair.run(batch("q", "other"))
    pair.backend.script["q"] = answer
    for _ in range(2):
        operation = pair.run(batch("q", "q", "other", "q", atomic=atomic))
        first = ("abcd",) if answer is CHANGED else (1, 2)
        assert rows(operation) == [[first], [first], [(8,)], [first]]
        names = tuple(name for name, _ in answer.columns)
        assert [item.columns for item in operation.items] == [names, names, ("n",), names]
        assert {item.outcome for item in operation.items} == {Outcome.COMMITTED}
    assert pair.engine.reusable


def test_no_columns_where_there_were_some(pair: Pair) -> None:
    pair.run(query("q"))
    pair.backend.script["q"] = Answer("SELECT 0")
    assert rows(pair.run(query("q"))) == [[]]
    assert rows(pair.run(query("q"))) == [[]]
    pair.backend.script["q"] = rows_of(9)
    # Nothing was asked for in a format, so nothing can be read: the next run asks.
    assert isinstance(error_of(pair.run(query("q"))), DataError)
    assert rows(pair.run(query("q"))) == [[(9,)]]


def test_columns_that_cannot_be_read_are_an_error_of_their_items(pair: Pair) -> None:
    pair.run(query("q"))
    pair.backend.script["q"] = UNREADABLE
    operation = pair.run(batch("other", "q", "q", atomic=False))
    assert [item.outcome for item in operation.items] == [Outcome.COMMITTED] * 3
    assert rows(operation) == [[(8,)], [], []]
    errors = [item.error for item in operation.items[1:]]
    for error in errors:
        assert isinstance(error, DataError)
        assert error.outcome is Outcome.COMMITTED
        assert "run it again" in str(error)
    assert errors[0] is not errors[1]
    assert rows(pair.run(query("q"))) == [[("abcd",)]]


def test_a_stream_and_a_statement_that_is_kept(pair: Pair) -> None:
    pair.run(query("q"))
    kept = pair.run(Prepare(Statement("q", "", kept=True))).statement
    pair.backend.script["q"] = CHANGED
    stream = Stream(QueuedQuery("q", ()))
    pair.engine.submit(stream)
    pair.pump()
    assert [tuple(row) for row in stream.take()] == [("abcd",)]
    for _ in range(2):
        operation = pair.run(Execution([QueuedQuery("q", (), kept)]))
        assert rows(operation) == [[("abcd",)]]


def test_a_name_needs_no_second_look() -> None:
    pair = Pair({"q": rows_of(7)})
    pair.run(query("q"))
    mark = len(pair.backend.heard)
    pair.run(query("q"))
    assert not [each for each in pair.backend.heard[mark:] if isinstance(each, Describe)]
    assert not isinstance(pair.run(query("q")).error, PostgresError)
