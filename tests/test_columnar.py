"""ColumnQuery: as it runs, streams, fails, heals and is given up."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from pgproto import DataError, Outcome, RemoteProtocolError
from pgproto.session import ColumnQuery, QueuedQuery
from pgproto.session.columnar import check_size
from tests.support.backend import Answer, fails, ok
from tests.support.columns import plain
from tests.support.pair import Pair
from tests.test_behind_a_pooler import doubtful

NUMBERS = [[struct.pack(">q", number)] for number in range(10)]
INFINITE = [[bytes(8)], [b"\x7f" + b"\xff" * 7]]
SCRIPT = {
    "numbers": Answer("SELECT 10", columns=[("n", 20)], rows=NUMBERS),
    "nothing": Answer("SELECT 0", columns=[("n", 20)], rows=[]),
    "large": Answer("SELECT 5", columns=[("t", 25)], rows=[[b"x" * 6_000_000]] * 5),
    "infinite": Answer("SELECT 2", columns=[("t", 1184)], rows=INFINITE),
    "short": Answer("SELECT 1", columns=[("n", 20)], rows=[[b"x"]]),
    "two": Answer("SELECT 1", columns=[("n", 20)], rows=[[bytes(8), bytes(8)]]),
    "insert": ok(),
    "bad": fails("22012"),
}


@pytest.fixture
def pair() -> Pair:
    return Pair(SCRIPT)


def columns(sql: str, size: int = 0, **options: Any) -> ColumnQuery:
    return ColumnQuery(QueuedQuery(sql, ()), size=size, **options)


def test_all_rows_are_one_batch(pair: Pair) -> None:
    query = pair.run(columns("numbers"))
    assert (query.error, query.items[0].outcome, query.exclusive) == (None, Outcome.COMMITTED, False)
    (batch,) = query.take()
    assert plain(batch["n"]) == list(range(10))
    assert query.take() == []
    (empty,) = pair.run(columns("nothing")).take()
    assert (len(empty), empty.names) == (0, ("n",))
    (none,) = pair.run(columns("insert")).take()
    assert (len(none), none.names) == (0, ())


def test_its_formats_are_its_own(pair: Pair) -> None:
    pair.run(columns("numbers"))
    asked = [line for line in pair.trace() if "Bind" in line]
    assert asked
    statement = pair.engine.channel.statements.get("numbers")
    assert statement.template() is not None
    assert pair.run(columns("numbers")).error is None


def test_a_stream_has_batches(pair: Pair) -> None:
    pair.chop = lambda data: [data[index : index + 19] for index in range(0, len(data), 19)]
    query = columns("numbers", 4)
    pair.engine.submit(query)
    found = []
    while not query.finished:
        pair.engine.resume()
        pair.pump()
        found += query.take()
    assert query.exclusive
    assert [plain(batch["n"]) for batch in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    (empty,) = pair.run(columns("nothing", 4)).take()
    assert (len(empty), empty.names) == (0, ("n",))


def test_the_rows_are_counted_as_they_arrive(pair: Pair) -> None:
    pair.chop = lambda data: [data[index : index + 19] for index in range(0, len(data), 19)]
    query = columns("numbers", watched=True)
    assert (query.exclusive, query.counts()) == (True, [])
    pair.engine.submit(query)
    found = []
    while not query.finished:
        pair.engine.resume()
        pair.pump()
        found += query.counts()
    assert query.progressed
    assert (found, query.rows) == ([10], 10)
    assert query.counts() == []
    (batch,) = query.take()
    assert plain(batch["n"]) == list(range(10))
    stream = pair.run(columns("numbers", 4))
    assert stream.rows == 10
    assert not pair.run(columns("numbers")).progressed


def test_a_stream_waits_for_its_consumer(pair: Pair) -> None:
    pair.chop = lambda data: [data[index : index + 7_000_000] for index in range(0, len(data), 7_000_000)]
    query = pair.run(columns("large", 100))
    assert not query.has_room()
    assert [len(batch) for batch in query.take()] == [3, 2]
    assert query.has_room()


@pytest.mark.parametrize("size", [0, 1, 2, 100])
def test_a_value_that_does_not_fit(pair: Pair, size: int) -> None:
    query = pair.run(columns("infinite", size))
    assert isinstance(query.error, DataError)
    assert str(query.error).startswith("row 2, column 't': the column's Arrow type has no infinity")
    assert query.error.outcome is Outcome.COMMITTED
    assert pair.engine.reusable
    query = pair.run(columns("infinite", size, unfit="null"))
    assert query.error is None
    assert [value for batch in query.take() for value in plain(batch["t"])][1:] == [None]
    assert isinstance(pair.run(columns("short", size)).error, DataError)


def test_what_comes_after_a_bad_row_is_dropped(pair: Pair) -> None:
    pair.chop = lambda data: [data[index : index + 19] for index in range(0, len(data), 19)]
    pair.backend.script["infinite"] = Answer("SELECT 5", columns=[("t", 1184)], rows=INFINITE + NUMBERS[:3])
    query = pair.run(columns("infinite", 1))
    assert isinstance(query.error, DataError)
    assert [plain(batch["t"]) for batch in query.take()] == [[946_684_800_000_000]]


def test_a_malformed_row_ends_the_session(pair: Pair) -> None:
    query = pair.run(columns("two"))
    assert isinstance(query.error, RemoteProtocolError)
    assert pair.engine.finished


def test_an_error_of_the_server(pair: Pair) -> None:
    query = pair.run(columns("bad"))
    assert query.error is not None
    assert query.take() == []
    assert pair.run(columns("numbers")).error is None


@pytest.mark.parametrize("size", [0, 4])
def test_abandoned(pair: Pair, size: int) -> None:
    pair.run(columns("numbers"))  # so that the next one is sent at once
    query = columns("numbers", size)
    pair.engine.submit(query)
    pair.send()
    pair.engine.abandon(query)
    pair.pump()
    assert query.finished
    assert query.has_room()
    assert query.take() == []


def test_it_runs_again_only_before_its_consumer_has_seen_rows(pair: Pair) -> None:
    whole, stream, empty = columns("numbers"), columns("numbers", 4), columns("nothing", 4)
    assert empty.repeatable()
    for query in (whole, stream):
        pair.run(query)
    assert [whole.repeatable(), stream.repeatable()] == [True, False]


def test_columns_that_are_others_behind_a_pooler() -> None:
    """They are read if they come in the formats that were asked for."""
    pair = doubtful()
    pair.backend.script.update(SCRIPT)
    for _ in range(2):
        assert [len(batch) for batch in pair.run(columns("numbers")).take()] == [10]
    assert not pair.engine.channel.statements.direct
    pair.backend.script["numbers"] = Answer("SELECT 1", columns=[("t", 25)], rows=[[b"text"]])
    (batch,) = pair.run(columns("numbers")).take()
    assert plain(batch["t"]) == ["text"]
    pair.run(columns("numbers"))
    pair.backend.script["numbers"] = Answer("SELECT 1", columns=[("j", 3802)], rows=[[b"\1{}"]])
    query = pair.run(columns("numbers"))
    assert str(query.error).startswith("the statement returns other columns now")
    assert query.take() == []
    pair.run(columns("numbers"))
    pair.backend.script["numbers"] = Answer("SELECT 1", columns=[("o", 99999)], rows=[[b"t"]])
    assert str(pair.run(columns("numbers")).error).startswith("the statement returns other columns now")


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="unfit must be"):
        columns("numbers", unfit="drop")
    with pytest.raises(ValueError, match="at least one row, not 0"):
        check_size(0)
    assert check_size(1) == 1
