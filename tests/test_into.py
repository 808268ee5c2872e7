"""`into=` in the session: what is made of the rows of a query, a batch and a stream, or nothing is sent."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from pgproto import Batch, Column, DataError, Outcome, PostgresError, Row, RowMaker
from pgproto.session import Execution, QueuedQuery, Script, Stream
from pgproto.session.batch import as_item, make_items
from pgproto.wire import Bind
from tests.support.backend import INT4, TEXT, Answer, fails, int4, ok, rows_of
from tests.support.pair import Pair


@dataclass
class User:
    id: int
    name: str = "nobody"


class Strict:
    """Refuses the number 2, and stops everything at 3."""

    def __init__(self, n: int) -> None:
        if n == 2:
            raise ValueError("not two")
        if n == 3:
            raise KeyboardInterrupt
        self.n = n


USERS = Answer("SELECT 2", columns=[("id", INT4), ("name", TEXT)], rows=[[int4(1), b"a"], [int4(2), b"b"]])
NO_USERS = Answer("SELECT 0", columns=[("id", INT4), ("name", TEXT)])
TWO = Answer("SELECT 2", columns=[("n", INT4)], rows=[[int4(1)], [int4(2)]])


def run(pair: Pair, query: str, into: Any) -> tuple[QueuedQuery[Any], Execution]:
    item = as_item(query, (), into)
    return item, pair.run(Execution([item]))


def test_objects_are_made_after_the_end() -> None:
    pair = Pair({"users": USERS})
    item, operation = run(pair, "users", User)
    assert operation.error is None
    assert item.rows == [(1, "a"), (2, "b")]  # nothing of the caller's has run yet
    assert item.take(item.rows) == [User(1, "a"), User(2, "b")]
    assert item.rows == [User(1, "a"), User(2, "b")]
    assert item.columns == ("id", "name")


def test_the_columns_of_a_result() -> None:
    pair = Pair({"users": NO_USERS, "insert": ok("INSERT 0 1")})
    item, _ = run(pair, "users", None)
    assert item.description == (Column("id", INT4, "int4"), Column("name", TEXT, "text"))
    silent, _ = run(pair, "insert", None)
    assert silent.description == as_item("users", ()).description == ()
    script = pair.run(Script("users"))
    assert script.results[0].description == item.description


def test_without_into_a_row_is_a_row() -> None:
    pair = Pair({"users": USERS})
    item, _ = run(pair, "users", None)
    assert type(item.rows[0]) is Row
    assert item.made(item.rows) == (item.rows, None)
    assert item.value() == 1
    assert (item.value(1), item.value("name"), item.value(-1)) == ("a", "a", "a")
    for column in (2, "nope"):
        with pytest.raises(DataError, match=f"the result has no column {column!r}") as caught:
            item.value(column)
        assert (caught.value.outcome, caught.value.query) == (Outcome.COMMITTED, "users")


def test_what_does_not_fit_is_not_sent() -> None:
    pair = Pair({"users": USERS})
    for _ in range(2):  # also if the statement is known already
        item, operation = run(pair, "users", int)
        error = operation.error
        assert isinstance(error, DataError)
        assert str(error) == "int is one column, but the result has 2"
        assert (error.outcome, item.outcome, error.query) == (Outcome.NOT_SENT, Outcome.NOT_SENT, "users")
        assert item.error is error
    item, operation = run(pair, "users", lambda id: id)
    assert "the column 'name' has no field" in str(operation.error)
    good, _ = run(pair, "users", dict)
    assert good.take(good.rows)[1] == {"id": 2, "name": "b"}


def test_an_atomic_batch_that_does_not_fit_is_not_sent() -> None:
    pair = Pair({"users": USERS, "insert": ok("INSERT 0 1")})
    batch = Batch()
    batch.queue("insert")
    batch.queue("users", into=int)
    operation = pair.run(Execution(batch.take()))
    assert [item.outcome for item in batch.items] == [Outcome.NOT_SENT] * 2
    assert operation.error is batch.items[1].error
    assert not any(isinstance(message, Bind) for message in pair.backend.heard)


def test_a_statement_that_was_altered_is_described_again_before_it_is_refused() -> None:
    pair = Pair({"users": rows_of(7)})
    run(pair, "users", None)
    pair.backend.script["users"] = USERS
    item, operation = run(pair, "users", User)
    assert operation.error is None
    assert item.take(item.rows)[0] == User(1, "a")


def test_columns_that_are_known_only_when_it_runs() -> None:
    pair = Pair({"fetch c": rows_of(7)})
    run(pair, "fetch c", None)
    pair.backend.script["fetch c"] = USERS
    item, operation = run(pair, "fetch c", User)
    assert operation.error is None
    assert item.take(item.rows)[0] == User(1, "a")
    for answer in (USERS, NO_USERS):  # also without rows
        pair.backend.script["fetch c"] = answer
        item, operation = run(pair, "fetch c", int)
        assert operation.error is None  # it ran
        with pytest.raises(DataError, match="int is one column, but the result has 2") as caught:
            item.take(item.rows)
        assert (caught.value.outcome, caught.value.query) == (Outcome.COMMITTED, "fetch c")
        assert item.rows == []


def test_behind_a_pooler_the_columns_may_differ_from_the_description() -> None:
    pair = Pair({"users": USERS})
    pair.engine.channel.statements.doubt()
    pair.engine.channel.statements.unasked = False
    run(pair, "users", None)
    other = [("name", TEXT), ("id", INT4)]
    pair.backend.script["users"] = Answer("SELECT 1", columns=other, rows=[[b"a", int4(1)]])
    item, operation = run(pair, "users", User)
    assert operation.error is None
    assert item.take(item.rows) == [User(1, "a")]


def test_an_exception_of_the_callers_class() -> None:
    pair = Pair({"two": TWO, "three": rows_of(3)})
    item, _ = run(pair, "two", Strict)
    with pytest.raises(DataError) as caught:
        item.take(item.rows)
    error = caught.value
    assert str(error) == "row 2: Strict raised ValueError"
    assert isinstance(error.__cause__, ValueError)
    assert (error.outcome, error.query) == (Outcome.COMMITTED, "two")
    assert item.error is error
    assert item.rows == []
    item, _ = run(pair, "three", Strict)
    with pytest.raises(KeyboardInterrupt):
        item.take(item.rows)
    assert item.rows == []
    assert pair.engine.idle


def test_the_items_of_a_batch() -> None:
    pair = Pair({"users": USERS, "two": TWO, "bad": fails("22012"), "one": rows_of(1)})
    batch = Batch(atomic=False)
    batch.queue("users", into=User)
    batch.queue("two", into=Strict)
    batch.queue("bad", into=dict)
    batch.queue("users")
    batch.queue("one", into=int)
    batch.queue("two", into=Strict)
    items = batch.items
    pair.run(Execution(batch.take(), atomic=False))
    first = make_items(items)
    assert isinstance(first, DataError)
    assert first is items[1].error
    assert items[0].rows == [User(1, "a"), User(2, "b")]
    assert items[1].rows == []
    assert isinstance(items[2].error, PostgresError)
    assert type(items[3].rows[0]) is Row
    assert items[4].rows == [1]
    assert isinstance(items[5].error, DataError)
    assert make_items(items[2:4]) is None


def test_the_rows_of_a_stream() -> None:
    pair = Pair({"two": TWO, "users": USERS})
    stream = pair.run(Stream(as_item("users", (), User)))
    assert stream.take() == [User(1, "a"), User(2, "b")]
    assert stream.take() == []
    stream = pair.run(Stream(as_item("two", (), Strict)))
    assert [each.n for each in stream.take()] == [1]  # what came before the error
    for _ in range(2):
        with pytest.raises(DataError, match="row 2: Strict raised ValueError") as caught:
            stream.take()
        assert caught.value.outcome is Outcome.COMMITTED
    stream = pair.run(Stream(as_item("two", (), lambda n: 1 // (n - 1))))
    with pytest.raises(DataError, match=r"row 1: .* raised ZeroDivisionError"):
        stream.take()
    stream = pair.run(Stream(as_item("users", (), int)))
    assert isinstance(stream.error, DataError)
    assert stream.error.outcome is Outcome.NOT_SENT


def test_the_outcome_of_a_stream_that_goes_on_is_not_known() -> None:
    item = as_item("two", (), Strict)
    stream = Stream(item)
    pair = Pair({"two": TWO})
    pair.engine.submit(stream)
    pair.send()
    pair.deliver()
    pair.send()
    data = bytes(pair.backend.out)
    pair.deliver(data[: data.rindex(b"C\0")])  # all but CommandComplete
    assert [each.n for each in stream.take()] == [1]
    with pytest.raises(DataError) as caught:
        stream.take()
    assert caught.value.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("into", [1, "text", SimpleNamespace(), int | None, Any, Literal["a"], Hashable])
def test_what_makes_no_objects_is_refused_at_the_door(into: Any) -> None:
    with pytest.raises(TypeError, match="into= must be a class, a function or a RowMaker, not "):
        Batch().queue("select 1", into=into)


def test_a_function_that_cannot_be_used_is_not_sent() -> None:
    def by_position(n: int, /) -> int:
        return n

    pair = Pair({"one": rows_of(1)})
    _, operation = run(pair, "one", by_position)
    assert isinstance(operation.error, DataError)
    assert operation.error.outcome is Outcome.NOT_SENT
    assert isinstance(operation.error.__cause__, TypeError)


def test_an_interrupt_while_the_columns_are_looked_at() -> None:
    def prepare(_: object) -> Any:
        raise KeyboardInterrupt

    pair = Pair({"one": rows_of(1)})
    item, operation = run(pair, "one", RowMaker(prepare))
    assert isinstance(operation.error, KeyboardInterrupt)
    assert item.outcome is Outcome.NOT_SENT
    assert pair.engine.idle
