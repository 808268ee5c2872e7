"""UNLISTEN in a transaction takes effect when that commits, and so does what is known of the listeners."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pgproto import LocalProtocolError
from pgproto.session import Execution, Operation, QueuedQuery, Script, Transaction
from pgproto.session.listen import listen
from pgproto.session.listening import Listener
from tests.support.backend import Answer, error_fields, ok
from tests.support.pair import Pair
from tests.support.queries import query

UNLISTENS = 'UNLISTEN "jobs"'
LISTENS = {
    'LISTEN "jobs"': Answer("LISTEN"),
    "SELECT pg_catalog.pg_backend_pid()": Answer("SELECT 1", columns=[("pid", 25)], rows=[[b"4711"]]),
    UNLISTENS: Answer("UNLISTEN"),
    "UNLISTEN *": Answer("UNLISTEN"),
    "bad": Answer(error=error_fields("22012")),
    "fails COMMIT": Answer("COMMIT", error=error_fields("23505")),
    "select": ok(),
}


def flow_of(pair: Pair, flow: Generator[Operation, None, None]) -> None:
    """Run a flow to its end."""
    for operation in flow:
        pair.run(operation)
        assert operation.error is None


def listening(channel: str) -> tuple[Pair, Listener]:
    """A session that listens."""
    pair = Pair(LISTENS)
    listener = Listener((channel,))
    flow_of(pair, listen(pair.engine, listener))
    return pair, listener


def end_of(pair: Pair, listener: Listener) -> str:
    """Why the listener has ended; its taker is woken."""
    assert listener in pair.engine.listeners.dispatch([])
    with pytest.raises(LocalProtocolError) as caught:
        listener.take()
    return str(caught.value)


@pytest.mark.holds("L7")
@pytest.mark.parametrize(
    ("scripts", "ends"),
    [
        (["BEGIN", UNLISTENS, "ROLLBACK"], False),
        (["BEGIN", UNLISTENS, "COMMIT"], True),
        (["BEGIN", UNLISTENS, "bad", "ROLLBACK"], False),
        (["BEGIN", UNLISTENS, "bad", "COMMIT"], False),
        ([f"{UNLISTENS}; bad"], False),
        ([f"BEGIN; {UNLISTENS}; COMMIT; bad"], True),
        ([f"BEGIN; {UNLISTENS}; ROLLBACK; select"], False),
        (["BEGIN", UNLISTENS, "fails COMMIT"], False),
        (["BEGIN", "SAVEPOINT s", UNLISTENS, "ROLLBACK TO s", "ROLLBACK"], False),
        # Which part was rolled back is not looked for: in doubt it ends.
        (["BEGIN", "SAVEPOINT s", UNLISTENS, "ROLLBACK TO s", "COMMIT"], True),
    ],
)
def test_an_unlisten_in_a_transaction(scripts: list[str], ends: bool) -> None:
    pair, listener = listening("jobs")
    assert not ends_early(pair, listener, scripts[:-1])
    pair.run(Script(scripts[-1]))
    assert not pair.engine.listeners.unsettled
    if ends:
        assert "UNLISTEN was run" in end_of(pair, listener)
    else:
        assert listener.take() is None


def ends_early(pair: Pair, listener: Listener, scripts: list[str]) -> bool:
    """Whether one of these ends the listener."""
    for sql in scripts:
        pair.run(Script(sql))
    return listener.ended is not None


@pytest.mark.holds("L7")
@pytest.mark.parametrize("atomic", [True, False])
def test_an_unlisten_in_a_batch_that_fails(atomic: bool) -> None:
    pair, listener = listening("jobs")
    items = [QueuedQuery(UNLISTENS, ()), QueuedQuery("bad", ())]
    pair.run(Execution(items, atomic=atomic))
    assert (listener.ended is None) is atomic


@pytest.mark.holds("L7")
def test_an_unlisten_whose_end_nobody_knows() -> None:
    """The listener ends, and what the server may listen to for nobody is taken back."""
    pair, listener = listening("jobs")
    operation = Script(f"{UNLISTENS}; bad")
    pair.engine.submit(operation)
    pair.send()
    pair.engine.give_up(operation)
    pair.pump()
    assert "UNLISTEN was run" in end_of(pair, listener)
    assert pair.trace()[-1].startswith("B")
    assert [line for line in pair.trace() if UNLISTENS in line and "bad" not in line]


@pytest.mark.holds("L7")
def test_an_unlisten_that_was_given_up_is_noticed() -> None:
    pair, listener = listening("jobs")
    pair.run(query(UNLISTENS))
    flow_of(pair, listen(pair.engine, listener))
    assert listener.take() is None
    operation = query(UNLISTENS)
    pair.engine.submit(operation)
    pair.send()
    pair.engine.give_up(operation)
    pair.pump()
    assert listener.ended is not None


@pytest.mark.holds("L7")
def test_a_savepoint_that_is_rolled_back() -> None:
    """A block of ours: it is known what was run in it."""
    pair, before = listening("jobs")
    outer, inner = Transaction(pair.engine), Transaction(pair.engine)
    outer.enter()
    during, inside = Listener(("jobs",)), Listener(("jobs",))
    flow_of(pair, listen(pair.engine, during))
    inner.enter()
    flow_of(pair, listen(pair.engine, inside))
    pair.run(query(UNLISTENS))
    flow_of(pair, inner.rollback())
    assert "rolled back" in end_of(pair, inside)
    assert during.unsure
    flow_of(pair, outer.commit())
    assert before.take() is during.take() is None
    assert not during.unsure


@pytest.mark.holds("L7")
def test_a_savepoint_that_is_released() -> None:
    pair, before = listening("jobs")
    outer, inner = Transaction(pair.engine), Transaction(pair.engine)
    outer.enter()
    pair.run(query(UNLISTENS))
    inner.enter()
    pair.run(query("select"))
    flow_of(pair, inner.rollback())
    assert before.take() is None
    flow_of(pair, outer.commit())
    assert "UNLISTEN was run" in end_of(pair, before)


@pytest.mark.holds("L7")
def test_a_listen_after_an_unlisten_in_one_transaction() -> None:
    """The server listens; the one before it is told that it may have missed something."""
    pair, before = listening("jobs")
    pair.run(Script("BEGIN"))
    pair.run(Script("UNLISTEN *"))
    after = Listener(("jobs",))
    flow_of(pair, listen(pair.engine, after))
    pair.run(Script("COMMIT"))
    assert "UNLISTEN was run" in end_of(pair, before)
    assert after.take() is None
    assert pair.engine.listeners._confirmed == {"jobs"}
    pair.engine.listeners.remove(before)
    assert pair.engine.listeners.remove(after) == UNLISTENS


@pytest.mark.holds("L7")
def test_one_that_has_left_before_the_commit() -> None:
    pair, listener = listening("jobs")
    pair.run(Script("BEGIN"))
    pair.run(Script(UNLISTENS))
    pair.engine.listeners.remove(listener)
    pair.run(Script("COMMIT"))
    with pytest.raises(LocalProtocolError, match="was left"):
        listener.take()
