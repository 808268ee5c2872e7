"""Scripts and COPY where the statement is another than was thought, or nobody waits for the answer."""

from __future__ import annotations

import pytest

from pgproto import ConnectionLost, DataError, LocalProtocolError, Outcome
from pgproto.session import CopyOut, Script
from pgproto.wire import ReadyForQuery
from tests.support.backend import Answer, ok, rows_of
from tests.support.pair import Pair
from tests.support.queries import error_of, query

SCRIPT = {
    "copy t to stdout": Answer("COPY 2", copy="out", rows=[[b"1\n"], [b"2\n"]]),
    "copy t from stdin": Answer("COPY 2", copy="in"),
    "insert": ok(),
    "select": rows_of(1, 2, 3),
}


@pytest.fixture
def pair() -> Pair:
    return Pair(SCRIPT)


def test_a_script_drops_what_it_copies_out(pair: Pair) -> None:
    script = pair.run(Script("insert; copy t to stdout"))
    assert script.error is None
    assert [(result.tag, list(result.rows)) for result in script.results] == [
        ("INSERT 0 1", []),
        ("COPY 2", []),
    ]
    assert pair.engine.reusable


def test_a_script_has_no_data_to_copy_in(pair: Pair) -> None:
    script = pair.run(Script("copy t from stdin"))
    assert "COPY FROM STDIN has no data here" in str(error_of(script))
    assert pair.backend.committed == []
    assert pair.engine.reusable


def test_rows_of_an_abandoned_script_are_dropped(pair: Pair) -> None:
    pair.backend.silent = True
    script = Script("select; insert")
    pair.engine.submit(script)
    pair.send()
    pair.engine.abandon(script)
    pair.engine.take_cancel()
    pair.engine.cancel_done()
    pair.backend.go_on()
    pair.pump()
    assert script.finished
    assert [list(result.rows) for result in script.results] == [[], []]
    assert pair.backend.committed == ["select", "insert"]
    assert pair.engine.reusable


def test_an_abandoned_copy_out_is_read_to_its_end_and_dropped(pair: Pair) -> None:
    copy = CopyOut("copy t to stdout")
    pair.backend.silent = True
    pair.engine.submit(copy)
    starting = [copy.starting]
    pair.send()
    pair.engine.abandon(copy)
    pair.engine.take_cancel()
    pair.engine.cancel_done()
    pair.backend.go_on()
    pair.pump()
    assert copy.over
    assert [*starting, copy.starting] == [True, False]
    assert copy.take() == []
    assert pair.run(query("insert")).error is None


@pytest.mark.parametrize(
    ("sql", "text", "outcome"),
    [
        ("copy t from stdin", "the statement is COPY FROM STDIN", Outcome.FAILED),
        ("insert", "the statement is not COPY TO STDOUT", Outcome.COMMITTED),
    ],
)
def test_copy_out_of_something_else(pair: Pair, sql: str, text: str, outcome: Outcome) -> None:
    error = error_of(pair.run(CopyOut(sql)))
    assert isinstance(error, LocalProtocolError)
    assert (str(error), error.outcome) == (text, outcome)
    assert pair.engine.reusable


def test_what_became_of_a_lost_script_matters_more_than_a_value_of_it(pair: Pair) -> None:
    pair.backend.script["select"] = Answer("SELECT 1", columns=[("s", 25)], rows=[[b"\xff"]])
    script = Script("select")
    pair.engine.submit(script)
    pair.send()
    pair.deliver(bytes(pair.backend.out).removesuffix(ReadyForQuery("I").encode()))
    assert isinstance(script.error, DataError)
    pair.eof()
    error = error_of(script)
    assert isinstance(error, ConnectionLost)
    assert error.outcome is Outcome.UNKNOWN
