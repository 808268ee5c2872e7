"""What is repeated and what is not: the table of `pgproto.pool.retry`, row by row."""

from __future__ import annotations

import asyncio

import pytest

from pgproto.errors import (
    ConfigError,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    DataError,
    Error,
    LocalProtocolError,
    Outcome,
    PoolClosed,
    PoolTimeout,
    PostgresError,
    QueryTimeout,
    RemoteProtocolError,
    ServerCrash,
    TooManyWaiting,
)
from pgproto.pool import Retry, hook_failed, transaction_outcome
from pgproto.session import Execution, Prepare, QueuedQuery, Script, Statement, Transaction
from tests.support.backend import fails, ok
from tests.support.pair import Pair
from tests.support.queries import query

SAFE = (Outcome.NOT_SENT, Outcome.NOT_COMMITTED, Outcome.SKIPPED, Outcome.ROLLED_BACK)
NEVER = (Outcome.UNKNOWN, Outcome.COMMITTED, Outcome.OK_IN_TX, Outcome.PREPARED, None)


def server_error(sqlstate: str, outcome: Outcome | None = Outcome.FAILED) -> PostgresError:
    error = PostgresError.of({"S": "ERROR", "C": sqlstate, "M": "no"})
    error.outcome = outcome
    return error


def ended(kind: type[Error], outcome: Outcome | None) -> Error:
    error = kind("the end")
    error.outcome = outcome
    return error


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
@pytest.mark.parametrize("outcome", [*SAFE, Outcome.FAILED])
def test_serialization_failures_and_deadlocks_are_repeated(sqlstate: str, outcome: Outcome) -> None:
    assert Retry().should_retry(server_error(sqlstate, outcome), 1)


@pytest.mark.parametrize("outcome", NEVER)
def test_not_even_a_serialization_failure_is_repeated_when_its_outcome_is_open(
    outcome: Outcome | None,
) -> None:
    assert not Retry().should_retry(server_error("40001", outcome), 1)


@pytest.mark.parametrize(
    "sqlstate", ["23505", "42601", "57014", "25P02", "57P01", "57P03", "53300", "08006", ""]
)
@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.SKIPPED, Outcome.ROLLED_BACK])
def test_other_errors_of_the_server_are_not_repeated_although_safe(sqlstate: str, outcome: Outcome) -> None:
    assert not Retry().should_retry(server_error(sqlstate, outcome), 1)


@pytest.mark.parametrize("sqlstate", ["57P03", "53300"])
def test_a_session_that_the_server_did_not_admit_is_repeated(sqlstate: str) -> None:
    assert Retry().should_retry(server_error(sqlstate, Outcome.NOT_SENT), 1)
    assert Retry().should_retry(ConnectError("no", [server_error(sqlstate)]), 1)


@pytest.mark.parametrize("kind", [ConnectionLost, ServerCrash, ConnectionClosed, RemoteProtocolError])
def test_a_lost_session_is_repeated_if_safe(kind: type[Error]) -> None:
    for outcome in SAFE:
        assert Retry().should_retry(ended(kind, outcome), 1)
    for other in (*NEVER, Outcome.FAILED):
        assert not Retry().should_retry(ended(kind, other), 1)


@pytest.mark.parametrize(
    ("errors", "repeated"),
    [
        ([ConnectionRefusedError()], True),
        ([ConnectionRefusedError(), server_error("28P01")], True),
        ([server_error("28P01")], False),
        ([server_error("3D000")], False),
        ([], True),
    ],
)
def test_connect_errors_are_repeated_unless_permanent(errors: list[Exception], repeated: bool) -> None:
    assert Retry().should_retry(ConnectError("no", errors), 1) is repeated


@pytest.mark.parametrize(
    "kind",
    [
        PoolTimeout,
        QueryTimeout,
        TooManyWaiting,
        PoolClosed,
        ConfigError,
        DataError,
        LocalProtocolError,
        Error,
    ],
)
@pytest.mark.parametrize("outcome", list(Outcome))
def test_never(kind: type[Error], outcome: Outcome) -> None:
    assert not Retry().should_retry(ended(kind, outcome), 1)


@pytest.mark.parametrize(
    "error", [ValueError(), TimeoutError(), OSError(), asyncio.CancelledError(), KeyboardInterrupt()]
)
def test_what_is_not_ours_is_not_repeated(error: BaseException) -> None:
    assert not Retry().should_retry(error, 1)
    assert not Retry().should_retry(error, 1, Outcome.ROLLED_BACK)
    assert transaction_outcome(error, commit_sent=False) is None


def test_attempts_are_counted_with_the_first() -> None:
    error = server_error("40001")
    assert [Retry(3).should_retry(error, attempt) for attempt in (1, 2, 3, 4)] == [True, True, False, False]
    assert not Retry(1).should_retry(error, 1)


def test_the_given_sqlstates_count() -> None:
    policy = Retry(sqlstates=["23505"])
    assert policy.should_retry(server_error("23505"), 1)
    assert not policy.should_retry(server_error("40001"), 1)


@pytest.mark.parametrize("outcome", [*SAFE, Outcome.OK_IN_TX, None])
def test_before_commit_the_whole_transaction_is_rolled_back(outcome: Outcome | None) -> None:
    error = ended(ConnectionLost, outcome)
    whole = transaction_outcome(error, commit_sent=False)
    assert whole is Outcome.ROLLED_BACK
    assert Retry().should_retry(error, 1, whole)


def test_before_commit_a_failure_stays_one_and_its_sqlstate_decides() -> None:
    for sqlstate, repeated in (("40001", True), ("23505", False)):
        error = server_error(sqlstate)
        whole = transaction_outcome(error, commit_sent=False)
        assert whole is Outcome.FAILED
        assert Retry().should_retry(error, 1, whole) is repeated


@pytest.mark.parametrize("outcome", list(Outcome))
def test_from_commit_on_only_its_answer_counts(outcome: Outcome) -> None:
    error = ended(ConnectionLost, outcome)
    whole = transaction_outcome(error, commit_sent=True)
    assert whole is outcome
    assert Retry().should_retry(error, 1, whole) is (outcome in SAFE)


def test_a_serialization_failure_of_commit_is_repeated() -> None:
    error = server_error("40001")
    assert Retry().should_retry(error, 1, transaction_outcome(error, commit_sent=True))


@pytest.mark.holds("L11")
def test_only_what_the_transactions_own_session_says_is_judged() -> None:
    pair, other = Pair(), Pair()
    block = Transaction(pair.engine)
    policy = Retry()
    error = ended(ConnectionLost, Outcome.NOT_SENT)
    for session, repeated in ((pair.engine.session, True), (other.engine.session, False), (None, False)):
        error.session = session
        assert policy.should_repeat(error, 1, block) is repeated
    assert policy.should_repeat(error, 1, None)  # no connection could be borrowed
    assert not policy.should_repeat(ended(PoolTimeout, Outcome.NOT_SENT), 1, None)
    assert not policy.should_repeat(ended(ConnectError, Outcome.NOT_SENT), 1, block)  # of another pool
    assert policy.should_repeat(ConnectError("no"), 1, None)
    error.session = other.engine.session
    assert not policy.should_repeat(error, 1, None)
    assert not policy.should_repeat(ValueError(), 1, block)


@pytest.mark.holds("L11")
def test_errors_say_which_session_they_came_from() -> None:
    pair = Pair({"bad": fails("40001"), "insert": ok()})
    policy = Retry()
    block = Transaction(pair.engine)
    block.enter()
    batch = Execution([QueuedQuery("insert", ()), QueuedQuery("bad", ())], atomic=False)
    for operation in (query("bad"), Script("bad"), Prepare(Statement("what?", "p", kept=True)), batch):
        error = pair.run(operation).error or batch.items[1].error
        assert isinstance(error, PostgresError)
        assert error.session == pair.engine.session
    assert isinstance(batch.items[1].error, PostgresError)
    assert batch.items[1].error.session == pair.engine.session
    lost = query("insert")
    pair.backend.silent = True
    pair.engine.submit(lost)
    pair.send()
    pair.eof()
    assert isinstance(lost.error, ConnectionLost)
    assert policy.should_repeat(lost.error, 1, block)
    with pytest.raises(ConnectionClosed) as caught:
        pair.engine.submit(query("insert"))
    assert policy.should_repeat(caught.value, 1, block)


@pytest.mark.holds("L11")
def test_nothing_is_repeated_after_a_commit_by_hand() -> None:
    pair = Pair({"insert": ok(), "commit": ok("COMMIT"), "bad": fails("40001")})
    block = Transaction(pair.engine)
    block.enter()
    error = pair.run(query("bad")).error
    assert error is not None
    assert Retry().should_repeat(error, 1, block)
    pair.run(query("commit"))
    assert not Retry().should_repeat(error, 1, block)


@pytest.mark.parametrize("outcome", [Outcome.COMMITTED, Outcome.UNKNOWN])
def test_what_may_be_committed_is_not_called_rolled_back(outcome: Outcome) -> None:
    error = ended(ConnectionLost, outcome)
    assert transaction_outcome(error, commit_sent=False) is outcome


def test_the_delay_doubles_up_to_its_bound() -> None:
    policy = Retry(delay=0.1, max_delay=0.5, jitter=0)
    assert [policy.delay_before(n, lambda: 0.9) for n in (1, 2, 3, 4, 5000)] == [0.1, 0.2, 0.4, 0.5, 0.5]


@pytest.mark.parametrize(("jitter", "draw", "expected"), [(1, 0.0, 2.0), (1, 0.75, 0.5), (0.5, 0.5, 1.5)])
def test_jitter_shortens_the_delay(jitter: float, draw: float, expected: float) -> None:
    assert Retry(delay=2, jitter=jitter).delay_before(1, lambda: draw) == expected


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"attempts": 0}, "attempts"),
        ({"delay": -1}, "delay"),
        ({"delay": 3, "max_delay": 2}, "max_delay"),
        ({"max_delay": float("inf")}, "finite"),
        ({"jitter": 1.1}, "jitter"),
    ],
)
def test_out_of_range(options: dict[str, float], name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Retry(**options)  # type: ignore[arg-type]


def test_a_string_is_not_a_set_of_sqlstates() -> None:
    with pytest.raises(ConfigError, match="sqlstates"):
        Retry(sqlstates="40001")


def test_repr() -> None:
    assert repr(Retry()) == "Retry(5, delay=0.05, max_delay=2.0, jitter=0.5, sqlstates=['40001', '40P01'])"


@pytest.mark.parametrize("kind", [ConnectionLost, ConnectionClosed])
@pytest.mark.parametrize(
    ("message", "repeated"),
    [
        ("transaction blocks not allowed in statement pooling mode", False),
        ("server conn crashed?", True),
    ],
)
def test_what_a_pooler_never_does_is_not_asked_of_it_again(
    kind: type[Error], message: str, repeated: bool
) -> None:
    error = ended(kind, Outcome.NOT_SENT)
    error.__cause__ = cause = PostgresError.of({"S": "FATAL", "C": "08P01", "M": message})
    assert Retry().should_retry(error, 1) is repeated
    assert hook_failed(error).permanent is not repeated
    assert hook_failed(cause).permanent is not repeated
