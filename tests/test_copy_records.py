"""Records by COPY: the columns' types are asked for in the transaction that stores the records."""

from __future__ import annotations

import pytest

from pgproto import Outcome, PostgresError
from pgproto.session import CopyRecords
from tests.support.backend import FATAL, Answer, error_fields, fails, ok
from tests.support.pair import Pair
from tests.support.queries import query, sql_error

SELECT = "select a from t"
COPY = "copy t (a) from stdin"
SCRIPT = {
    SELECT: Answer("SELECT 0", columns=[("a", 20)]),
    "select a from nowhere": fails("42P01", "parse"),
    COPY: Answer("COPY 1", copy="in"),
    "copy t (a) from stdin where f(a)": Answer("COPY 1", copy="in"),
    "insert": ok(),
}


@pytest.fixture
def pair() -> Pair:
    return Pair(SCRIPT)


def started(pair: Pair) -> CopyRecords:
    copy = CopyRecords(SELECT, COPY)
    assert copy.text() == SELECT
    pair.run(copy)
    assert copy.copying
    assert copy.types == (20,)
    assert copy.text() == COPY
    return copy


def go_on(pair: Pair) -> None:
    pair.engine.resume()
    pair.pump()


def test_golden_copy_of_records(pair: Pair) -> None:
    copy = started(pair)
    copy.feed(b"1\n")
    copy.end()
    go_on(pair)
    assert (copy.error, copy.rowcount) == (None, 1)
    assert [line.split("\t")[2].split()[0] for line in pair.trace() if line.startswith("F")] == [
        *("Parse", "Describe", "Parse", "Bind", "Execute", "Flush", "CopyData", "CopyDone", "Sync"),
    ]
    assert pair.run(query("insert")).error is None
    assert pair.engine.idle


@pytest.mark.parametrize("called", [False, True])
def test_what_it_leaves_behind(pair: Pair, called: bool) -> None:
    pair.run(CopyRecords(SELECT, f"{COPY} where f(a)" if called else COPY))
    assert pair.engine.dirty == called


def test_a_table_that_is_not_there(pair: Pair) -> None:
    copy = pair.run(CopyRecords("select a from nowhere", COPY))
    assert sql_error(copy) == "42P01"
    assert copy.over
    assert pair.engine.idle
    assert pair.run(query("insert")).error is None


def test_a_source_that_fails(pair: Pair) -> None:
    copy = started(pair)
    copy.feed(b"1\n")
    copy.stop("the source failed")
    go_on(pair)
    assert sql_error(copy) == "57014"
    assert pair.backend.committed == []
    assert pair.run(query("insert")).error is None
    assert pair.engine.idle


def test_the_server_stops_it(pair: Pair) -> None:
    copy = started(pair)
    pair.backend._fail(error_fields("23505"))
    pair.deliver()
    assert copy.over
    go_on(pair)
    assert sql_error(copy) == "23505"
    assert isinstance(copy.error, PostgresError)
    assert copy.error.outcome is Outcome.FAILED
    assert pair.run(query("insert")).error is None
    assert pair.engine.idle


@pytest.mark.parametrize("ended", [False, True])
def test_a_lost_one(pair: Pair, ended: bool) -> None:
    copy = started(pair)
    if ended:
        copy.end()
        pair.engine.resume()
        pair.send()
    else:
        pair.deliver(FATAL)
    pair.eof()
    assert getattr(copy.error, "outcome", None) is (Outcome.UNKNOWN if ended else Outcome.NOT_COMMITTED)


def test_one_that_is_given_up_before_and_after_it_has_begun(pair: Pair) -> None:
    copy = started(pair)
    pair.engine.abandon(copy)
    pair.pump()
    pair.engine.take_cancel()
    pair.engine.cancel_done()
    assert pair.engine.reusable
    pair.backend.silent = True
    copy = pair.run(CopyRecords(SELECT, COPY))
    pair.engine.abandon(copy)
    pair.engine.take_cancel()
    pair.backend.go_on()
    pair.pump()
    pair.engine.cancel_done()
    go_on(pair)
    assert pair.engine.reusable
    assert pair.run(query("insert")).error is None
