"""A script or COPY that is the first thing in a savepoint: SAVEPOINT goes ahead, and is waited for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgproto import (
    LocalProtocolError,
    Outcome,
    PostgresError,
    QueryTimeout,
    RemoteProtocolError,
    TransactionAborted,
)
from pgproto.session import CopyIn, CopyOut, Execution, Operation, Script, Transaction
from pgproto.wire import CopyBothResponse, CopyInResponse, Message, Query
from tests.support.backend import fails, ok
from tests.support.flows import copying_in, run_flow
from tests.support.pair import Pair
from tests.support.queries import query, sql_error

SCRIPT = {"insert": ok(), "bad": fails("22012")}


@pytest.fixture
def pair() -> Pair:
    return Pair(SCRIPT)


WAYS: list[Callable[[Pair, str], Operation]] = [
    lambda pair, sql: pair.run(query(sql)),
    lambda pair, sql: pair.run(Script(sql)),
    lambda pair, sql: copying_in(pair, sql),
    lambda pair, sql: pair.run(CopyOut(sql)),
]


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("before", [False, True], ids=["", "before"])
@pytest.mark.parametrize("way", WAYS)
def test_a_savepoint_holds_when_its_first_text_cannot_be_parsed(
    pair: Pair, way: Callable[[Pair, str], Operation], before: bool, pipelining: bool
) -> None:
    pair.engine.pipelining = pipelining
    outer, inner = Transaction(pair.engine), Transaction(pair.engine)
    outer.enter()
    if before:
        assert pair.run(query("insert")).error is None
    inner.enter()
    operation = way(pair, "typo")
    assert sql_error(operation) == "42601"
    assert isinstance(operation.error, PostgresError)
    assert (operation.error.outcome, operation.error.query) == (Outcome.FAILED, "typo")
    run_flow(pair, inner.rollback())
    assert pair.run(query("insert")).error is None
    run_flow(pair, outer.commit())
    assert pair.backend.committed == ["insert"] * (1 + before)
    assert pair.engine.reusable


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", ["BEGIN", "SAVEPOINT pgproto_1"])
def test_what_opens_a_savepoint_fails(what: str, way: Callable[[Pair, str], Operation]) -> None:
    pair = Pair({**SCRIPT, what: fails("57014")})
    outer, inner = Transaction(pair.engine), Transaction(pair.engine)
    outer.enter()
    inner.enter()
    operation = way(pair, "insert")
    assert sql_error(operation) == "57014"
    told = operation.items[0] if isinstance(operation, Execution) else operation.error
    assert getattr(told, "outcome", None) is Outcome.SKIPPED
    assert not any(isinstance(each, Query) for each in pair.backend.heard)
    behind = Script("insert")
    if what == "BEGIN":
        with pytest.raises(LocalProtocolError, match="BEGIN failed"):
            pair.engine.submit(behind)
    else:
        assert sql_error(pair.run(behind)) == "25P02"
    run_flow(pair, outer.rollback())
    assert pair.backend.committed == []
    assert pair.engine.reusable


@pytest.mark.parametrize("answer", [CopyInResponse(0, ()), CopyBothResponse(0, ())])
def test_what_opens_a_savepoint_is_answered_with_copy(pair: Pair, answer: Message) -> None:
    """Nothing would be sent and nothing said: both sides would wait."""
    outer, inner = Transaction(pair.engine), Transaction(pair.engine)
    outer.enter()
    inner.enter()
    pair.backend.silent = True
    script = pair.run(Script("insert"))
    pair.deliver(answer.encode())
    assert isinstance(script.error, RemoteProtocolError)
    assert script.error.outcome is Outcome.NOT_SENT
    assert pair.engine.closed


@pytest.mark.parametrize("fails_late", [False, True])
def test_the_time_of_a_script_is_over_before_its_savepoint_is_set(pair: Pair, fails_late: bool) -> None:
    outer, inner = Transaction(pair.engine), Transaction(pair.engine)
    outer.enter()
    assert pair.run(query("insert")).error is None
    inner.enter()
    if fails_late:
        pair.backend.script["SAVEPOINT pgproto_1"] = fails("57014")
    pair.backend.silent = True
    script = Script("insert")
    script.deadline = pair.now + 1
    pair.engine.submit(script)
    pair.send()
    pair.pass_time(1)
    error = script.error
    assert isinstance(error, QueryTimeout)
    assert error.outcome is Outcome.NOT_SENT
    assert not pair.engine.wants_cancel
    pair.backend.go_on()
    pair.pump()
    assert script.error is error
    run_flow(pair, outer.rollback() if fails_late else inner.rollback())
    if not fails_late:
        run_flow(pair, outer.commit())
    assert pair.backend.committed == ([] if fails_late else ["insert"])
    assert pair.engine.reusable


def test_the_session_ends_before_the_savepoint_of_a_script_is_set(pair: Pair) -> None:
    outer, inner = Transaction(pair.engine), Transaction(pair.engine)
    outer.enter()
    inner.enter()
    pair.backend.silent = True
    script, copy = Script("insert"), CopyIn("copy t from stdin")
    for operation in (script, copy):
        pair.engine.submit(operation)
    pair.send()
    pair.eof()
    for operation in (script, copy):
        assert getattr(operation.error, "outcome", None) is Outcome.NOT_SENT


@pytest.mark.parametrize("way", WAYS)
def test_a_savepoint_whose_error_was_swallowed_is_rolled_back(
    pair: Pair, way: Callable[[Pair, str], Operation]
) -> None:
    """The transaction around it goes on, and what was done in the savepoint is gone."""
    outer, inner = Transaction(pair.engine), Transaction(pair.engine)
    outer.enter()
    assert pair.run(query("insert")).error is None
    inner.enter()
    assert pair.run(query("insert")).error is None
    assert sql_error(way(pair, "bad")) == "22012"
    assert pair.engine.transaction_status == "E"
    with pytest.raises(TransactionAborted, match="savepoint was rolled back") as caught:
        run_flow(pair, inner.commit())
    assert caught.value.outcome is Outcome.ROLLED_BACK
    assert not inner.entered
    assert pair.engine.transaction_status == "T"
    run_flow(pair, outer.commit())
    assert pair.backend.committed == ["insert"]
    assert pair.engine.reusable
