"""The ledger: completed statements in, labels out.  Against a real server: `tests/promise/test_labels.py`."""

from __future__ import annotations

import pytest

from pgproto import DataError, Outcome, TransactionAborted
from pgproto.session import QueuedQuery, Statement
from pgproto.session.ledger import Ledger

LETTERS = {
    "C": Outcome.COMMITTED,
    "R": Outcome.ROLLED_BACK,
    "T": Outcome.OK_IN_TX,
    "U": Outcome.UNKNOWN,
    "P": Outcome.PREPARED,
}
TAGS = {
    "insert": "INSERT 0 1",
    "end": "COMMIT",
    "abort": "ROLLBACK",
    "start": "START TRANSACTION",
    "do": "DO",
}
PAIRS = ("PREPARE TRANSACTION", "COMMIT PREPARED", "ROLLBACK PREPARED")


def done(text: str) -> QueuedQuery:
    """An item that has completed: "sql", or "sql = TAG" where the tag is not what the first word says."""
    sql, _, tag = text.partition(" = ")
    item = QueuedQuery(sql, (), Statement(sql, "s"))
    words = sql.upper().replace(";", " ").split()
    pair = " ".join(words[:2])
    item.tag = tag or (pair if pair in PAIRS else TAGS.get(words[0].lower(), words[0]))
    return item


def labels(items: list[QueuedQuery]) -> str:
    letters = {outcome: letter for letter, outcome in LETTERS.items()}
    return "".join(letters[item.outcome] for item in items if item.outcome is not None)


def walk(texts: list[str], end: str, *, in_block: bool) -> list[QueuedQuery]:
    """The items, after "I", "T" or "E" (with an error: "I!", ...), or "died" / "died?"."""
    items = [done(text) for text in texts]
    ledger = Ledger(in_block)
    for item in items:
        ledger.enter(item)
    if end.startswith("died"):
        assert all(item in items for item in ledger.died(may_have_ended=end.endswith("?")))
    else:
        ledger.ready(end[0], failed=end.endswith("!"))
    return items


I = "insert"  # noqa: E741
OUTSIDE = [
    ([I, I], "I", "CC"),
    ([I, I], "I!", "RR"),
    (["begin", I], "T", "TT"),
    (["begin", I], "E!", "RR"),
    ([I, "begin", I, "commit", I], "I!", "CCCCR"),
    ([I, "begin", I, "rollback", I], "I", "RRRRC"),
    (["start transaction", I, "abort work", I], "I", "RRRC"),
    ([I, "end", I], "I!", "CCR"),
    (["begin", "savepoint s", I, "rollback to s", "commit"], "I", "CCRCC"),
    (["begin", "savepoint s", I, "rollback to s", I, "rollback"], "I", "RRRRRR"),
    (["begin", I, "savepoint S", I, 'rollback transaction to savepoint "s"; -- now', "end"], "I", "CCCRCC"),
    (
        ["begin", "savepoint s", I, "savepoint t", I, "savepoint s", I, "rollback to t", "commit"],
        "I",
        "CCCCRRRCC",
    ),
    (["begin", "savepoint s", I, "savepoint t", I, "release t", "rollback to s", "commit"], "I", "CCRRRRCC"),
    (["begin", "savepoint s", I, "savepoint t", I], "E!", "TTTTR"),
    (["begin", "savepoint s", I, "savepoint t", I], "died", "RRRRR"),
    (["begin", "savepoint s", I, "savepoint t", I], "died?", "UUUUU"),
    # What cannot be read: a name that the server cuts or folds.
    (["begin", "savepoint s", I, "rollback to sch\u00f6n", "commit"], "I", "UUUUC"),
    (["begin", "savepoint s", I, "rollback to sch\u00f6n", "rollback"], "I", "RRRRR"),
    (["begin", "savepoint s", I, "rollback to sch\u00f6n"], "T", "UUUU"),
    (["begin", 'savepoint U&"s"', I, "rollback to t", I, "commit"], "I", "UUUCCC"),
    (["begin", "savepoint s", "release " + "x" * 64, I, "rollback to s", "commit"], "I", "UUUUCC"),
    (["begin", "savepoint s", "release " + "x" * 64, "release s", I], "E!", "TTRRR"),
    (["begin", I, "rollback to sch\u00f6n = ROLLBACK", I, "commit"], "I", "UUUCC"),
    (["begin", I, "rollback (?) = ROLLBACK", I], "I", "UUUC"),
    # A COMMIT that did not.
    (["begin", I, "commit = ROLLBACK", I], "I", "RRRC"),
    (["begin", I, "commit and chain = ROLLBACK", I], "T", "RRRT"),
    (["begin", I, "prepare transaction 'x' = ROLLBACK"], "I", "RRR"),
    ([I, "prepare transaction 'x' = ROLLBACK"], "I", "UU"),
    (["begin", I, "commit and chain", I], "died", "CCCR"),
    (["begin", I, "commit and chain", I, "call p()"], "I!", "CCCRR"),
    (["begin", I, "commit and no chain", I, "call p()"], "I!", "CCCUU"),
    (["begin", I, "prepare transaction 'x'", I], "I!", "PPPR"),
    (["rollback prepared 'x'", I], "I", "CC"),
    (["commit prepared 'x'"], "I", "C"),
    # What commits when it sees fit, or undoes what came before it.
    ([I, "vacuum"], "I", "CC"),
    ([I, "vacuum", I], "I!", "UUR"),
    ([I, "call p()", I], "I", "UCC"),
    ([I, "do $$ $$", I], "I!", "UUR"),
    (["call p()", "begin", "savepoint s", I, "rollback to s", "commit"], "I", "CCCRCC"),
    ([I, "call p()", "begin", I, "call p()", "rollback"], "I", "UURRRR"),
    # A status that follows from nothing.
    ([I, I], "T", "TT"),
]
INSIDE = [
    ([I, "rollback to mine"], "T", "RT"),
    ([I, "savepoint s", I, "release mine", I], "E!", "RRRRR"),
    ([I, "call p()", I, "rollback"], "I", "RRRR"),
    ([I, I], "E!", "RR"),
    ([I], "T!", "R"),
    (["commit = ROLLBACK"], "I", "R"),
]


@pytest.mark.holds("L8")
@pytest.mark.parametrize(("texts", "end", "expected"), OUTSIDE)
def test_from_outside_of_a_block(texts: list[str], end: str, expected: str) -> None:
    assert labels(walk(texts, end, in_block=False)) == expected


@pytest.mark.holds("L8")
@pytest.mark.parametrize(("texts", "end", "expected"), INSIDE)
def test_from_inside_of_a_block(texts: list[str], end: str, expected: str) -> None:
    assert labels(walk(texts, end, in_block=True)) == expected


def test_over_several_segments() -> None:
    """A batch that is not atomic hears ReadyForQuery after each item."""
    ledger = Ledger(False)
    begin, keep, undone, back = done("begin"), done("savepoint s"), done("insert"), done("rollback to s")
    for item in (begin, keep, undone):
        ledger.enter(item)
        ledger.ready("T", failed=False)
    ledger.ready("E", failed=True)
    assert labels([begin, keep, undone]) == "TTR"
    ledger.enter(back)
    ledger.ready("T", failed=False)
    assert labels([begin, keep, undone, back]) == "TTRT"
    ledger.enter(done("commit"))
    assert labels([begin, keep, undone, back]) == "CCRC"


def test_a_block_that_nobody_opened_is_unknown_when_the_session_dies() -> None:
    ledger = Ledger(False)
    item = done("insert")
    ledger.enter(item)
    ledger.ready("T", failed=False)
    ledger.died(may_have_ended=False)
    assert item.outcome is Outcome.UNKNOWN


def test_errors_say_the_same_as_the_labels() -> None:
    items = walk(["begin", "insert", "commit = ROLLBACK"], "I", in_block=False)
    for item in items:
        assert isinstance(item.error, TransactionAborted)
        assert item.error.outcome is Outcome.ROLLED_BACK
    wrong = done("select")
    wrong.error = DataError("not UTF-8")
    ledger = Ledger(True)
    ledger.enter(wrong)
    ledger.enter(done("commit"))
    assert wrong.error.outcome is Outcome.COMMITTED
    items = walk(["begin", "insert", "rollback"], "I", in_block=False)
    assert [item.error for item in items] == [None] * 3


@pytest.mark.slow
def test_labels_take_linear_time() -> None:
    items = walk(["call p()", "rollback to sch\u00f6n = ROLLBACK"] * 20000, "I", in_block=False)
    assert len(labels(items)) == 40000


@pytest.mark.holds("L8")
@pytest.mark.parametrize(
    ("before", "sql", "in_block", "expected"),
    [
        ([I], "call p()", False, "U"),  # it may have committed, and failed after that
        ([I], "/* a */ do $$ begin commit; raise exception 'late'; end $$", False, "U"),
        ([I], "call p()", True, "R"),
        ([I, "begin", I], "do ''", False, "RRR"),
        ([I], I, False, "R"),
    ],
)
def test_what_came_before_a_procedure_that_failed(
    before: list[str], sql: str, in_block: bool, expected: str
) -> None:
    items = [done(text) for text in before]
    ledger = Ledger(in_block)
    for item in items:
        ledger.enter(item)
    ledger.failed(QueuedQuery(sql, ()))
    ledger.ready("I", failed=True)
    assert labels(items) == expected
