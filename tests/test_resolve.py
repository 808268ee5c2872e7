"""`Resolve`: a statement is described and its types are found; nothing is run."""

from __future__ import annotations

import pytest

from pgproto import ConnectionLost, Outcome, PostgresError, QueryTimeout
from pgproto.session import Execution, QueuedQuery, Resolve, Transaction
from pgproto.types import TypeMap
from pgproto.types.catalog import LOOK_UP
from tests.support.backend import FATAL, Answer, fails, ok
from tests.support.pair import Pair
from tests.test_lookup import MOOD, ROWS, SCRIPT, look_ups, pair_with

MORE = {
    "mood": Answer(columns=[("m", MOOD)], rows=[[b"sad"]]),
    "taken": fails("42P05", "parse"),
    "no": fails("42P01", "parse"),
}


@pytest.fixture
def pair() -> Pair:
    return Pair({**SCRIPT, **MORE}, types=TypeMap())


def sent(pair: Pair) -> int:
    return sum(len(data) for direction, data in pair.log if direction == "F")


def test_it_finds_types_and_leaves_the_statement_in_the_cache(pair: Pair) -> None:
    resolve = pair.run(Resolve("mood"))
    assert resolve.error is None
    assert resolve.result_types == (MOOD,)
    assert look_ups(pair) == 1
    before = sent(pair)
    again = pair.run(Resolve("mood"))
    assert (again.finished, again.result_types) == (True, (MOOD,))
    assert sent(pair) == before
    assert Resolve("mood").result_types == ()


def test_what_was_forgotten_is_looked_up_again(pair: Pair) -> None:
    pair.run(Resolve("mood"))
    pair.engine.channel.statements.types.forget()
    assert pair.run(Resolve("mood")).error is None
    assert look_ups(pair) == 2


def test_types_that_cannot_be_found_are_no_error() -> None:
    pair = pair_with(fails("42501"))
    assert pair.run(Resolve("mood")).error is None


def test_an_error_is_that_of_the_server(pair: Pair) -> None:
    no = pair.run(Resolve("no"))
    assert isinstance(no.error, PostgresError)
    assert (no.error.outcome, no.error.query) == (Outcome.FAILED, "no")
    block = Transaction(pair.engine, isolation="serializable")
    block.enter()
    pair.backend.script["BEGIN ISOLATION LEVEL SERIALIZABLE"] = fails("25001")
    blocked = pair.run(Resolve("mood"))
    assert isinstance(blocked.error, PostgresError)
    assert blocked.error.sqlstate == "25001"


def test_a_name_that_is_taken_is_replaced(pair: Pair) -> None:
    taken = Resolve("taken")
    pair.engine.submit(taken)
    pair.send()
    pair.backend.script["taken"] = ok()
    pair.pump()
    assert taken.error is None
    assert taken.heals == 1


def test_it_waits_for_a_description_that_is_under_way(pair: Pair) -> None:
    first = Execution([QueuedQuery("mood", ())])
    pair.engine.submit(first)
    resolve = pair.run(Resolve("mood"))
    assert (first.error, resolve.error) == (None, None)
    assert look_ups(pair) == 1


@pytest.mark.parametrize("answered", [False, True])
def test_its_caller_may_go_away(pair: Pair, answered: bool) -> None:
    resolve = Resolve("mood")
    resolve.deadline = pair.now + 1
    pair.engine.submit(resolve)
    pair.send()
    pair.pass_time(1)
    if answered:
        pair.pump()
        assert not pair.engine.closed
    else:
        pair.deliver(FATAL)
        pair.eof()
    assert isinstance(resolve.error, QueryTimeout if answered else ConnectionLost)
    assert resolve.error.outcome is Outcome.NOT_SENT


def test_the_session_may_end(pair: Pair) -> None:
    resolve = Resolve("mood")
    pair.engine.submit(resolve)
    pair.send()
    pair.eof()
    assert resolve.error is not None
    assert pair.engine.channel.statements.get("mood").users == 0


def test_it_may_be_refused_before_it_is_written(pair: Pair) -> None:
    resolve = Resolve("x" * 2**30)
    pair.run(resolve)
    assert resolve.error is not None
    assert len(ROWS) == 3
    assert LOOK_UP in SCRIPT


def test_a_long_list_of_statements_goes_in_pieces(pair: Pair) -> None:
    """Without pipelining its Parse waits for what is in flight."""
    pair.engine.pipelining = False
    pair.engine.submit(Execution([QueuedQuery("one", ())]))
    resolve = Resolve("mood")
    pair.run(resolve)
    assert resolve.error is None
