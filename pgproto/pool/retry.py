"""What may be repeated, and when: a policy based on outcomes, SQLSTATEs and error classes.

A repetition must be **safe** (no effect can happen twice, by the outcome) and **useful** (the next attempt
can end differently, by class and SQLSTATE).

    error                              repeated if
    ---------------------------------  ---------------------------------------------------------------
    PostgresError                      FAILED or safe, and its SQLSTATE is in `sqlstates`, or it was only
                                       about a prepared statement that is out of date (`stale_statement`);
                                       57P03 and 53300 if NOT_SENT.  A unique violation is safe to repeat,
                                       but only fails again.
    ConnectionLost, ServerCrash        safe, and not because a pooler refuses something that it never does
                                       (a transaction in statement pooling mode)
    ConnectionClosed                   the same: the session ended between two queries
    RemoteProtocolError                safe: another connection may behave
    ConnectError                       safe, and not permanent (wrong password, no such database, ...)
    PoolTimeout, QueryTimeout          never: the caller's time is over
    TooManyWaiting                     never: the pool sheds load, and an immediate retry defeats that
    PoolClosed                         never: it stays closed
    ConfigError, DataError,
    LocalProtocolError                 never: the same call would fail again
    not a pgproto.Error                never: nothing is known about it

    safe: NOT_SENT, NOT_COMMITTED, SKIPPED, ROLLED_BACK.
    never: UNKNOWN, COMMITTED, OK_IN_TX, PREPARED, None.

For a function that runs in one transaction the transaction's outcome counts, not that of the query that ended
it, and only errors of the transaction's own session count: see `Retry.should_repeat`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from ..errors import (
    ConfigError,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    Error,
    Outcome,
    PostgresError,
    RemoteProtocolError,
)
from ..session import Transaction
from .backoff import is_permanent

__all__ = ["Retry", "transaction_outcome"]

SERIALIZATION_FAILURE: Final = "40001"
DEADLOCK_DETECTED: Final = "40P01"

NOT_YET: Final = frozenset({"57P03", "53300"})
"""cannot_connect_now and too_many_connections: the server refuses the session, not the query."""


def transaction_outcome(error: BaseException, *, commit_sent: bool) -> Outcome | None:
    """The outcome of a transaction as a whole, from the error that ended it.

    - Before COMMIT was handed over, everything is rolled back: by ROLLBACK, or by the server at the session's
      end.  But FAILED stays FAILED, because the SQLSTATE decides whether a repetition is useful.  And UNKNOWN
      stays UNKNOWN, because a query in a transaction is UNKNOWN only if it may have been the COMMIT.
    - After that only the answer to COMMIT counts, and the error has its outcome: FAILED means rolled back,
      UNKNOWN stays UNKNOWN and is never repeated.

    Args:
        error: the exception that left the block, or that COMMIT raised.
        commit_sent: True if a COMMIT was handed to the transport, even in part.

    Returns:
        The transaction's outcome; None if nothing is known (not a `pgproto.Error`).
    """
    if not isinstance(error, Error):
        return None
    outcome = error.outcome
    if commit_sent or outcome in (Outcome.FAILED, Outcome.COMMITTED, Outcome.UNKNOWN):
        return outcome
    return Outcome.ROLLED_BACK


class Retry:
    """When a unit of work is repeated; immutable by convention (every attribute is Final).

    Args:
        attempts: the largest number of runs, including the first.
        delay: seconds before the first repetition; doubles with each one.
        max_delay: the largest delay, in seconds.
        jitter: fraction 0..1 of the delay that is random: 0 is none, 1 spreads it over 0..delay.
        sqlstates: the server's errors after which a repetition makes sense.

    Raises:
        ConfigError: a value is out of range.
    """

    __slots__ = ("attempts", "delay", "jitter", "max_delay", "sqlstates")

    def __init__(
        self,
        attempts: int = 5,
        *,
        delay: float = 0.05,
        max_delay: float = 2.0,
        jitter: float = 0.5,
        sqlstates: Iterable[str] = (SERIALIZATION_FAILURE, DEADLOCK_DETECTED),
    ) -> None:
        if attempts < 1:
            raise ConfigError(f"attempts must be 1 or more, not {attempts!r}")
        if not 0 <= delay <= max_delay < float("inf"):
            raise ConfigError(f"delay and max_delay must be 0 <= {delay!r} <= {max_delay!r}, and finite")
        if not 0 <= jitter <= 1:
            raise ConfigError(f"jitter must be between 0 and 1, not {jitter!r}")
        if isinstance(sqlstates, str):
            raise ConfigError("sqlstates must be several SQLSTATEs, not one string")
        self.attempts: Final[int] = attempts
        self.delay: Final[float] = float(delay)
        self.max_delay: Final[float] = float(max_delay)
        self.jitter: Final[float] = float(jitter)
        self.sqlstates: Final[frozenset[str]] = frozenset(sqlstates)

    def should_retry(self, error: BaseException, attempt: int, outcome: Outcome | None = None) -> bool:
        """True if the work that ended with `error` may and should be run again.

        Args:
            error: the exception that it raised.
            attempt: the number of runs so far, 1 after the first.
            outcome: the outcome of the whole unit of work, if it is not the error's own (transactions:
                `transaction_outcome`); None for the error's.
        """
        if attempt >= self.attempts or not isinstance(error, Error):
            return False
        known = error.outcome if outcome is None else outcome
        if known is None:
            return False
        if isinstance(error, PostgresError):
            if known is Outcome.NOT_SENT and error.sqlstate in NOT_YET:
                return True
            useful = error.sqlstate in self.sqlstates or error.stale_statement
            return useful and (known is Outcome.FAILED or known.safe_to_retry)
        if not known.safe_to_retry:
            return False
        if isinstance(error, (ConnectError, ConnectionLost, ConnectionClosed)):
            return not is_permanent(error)
        return isinstance(error, RemoteProtocolError)

    def should_repeat(self, error: BaseException, attempt: int, block: Transaction | None) -> bool:
        """True if a function that ran in a transaction of its own may and should run again.

        Only errors of the transaction's own session are considered.  An error of another session (the
        function used a second connection or another pool) says nothing about this transaction, and the
        work done there is not rolled back with it.  Nor is anything repeated after the function has run
        COMMIT as a statement.

        Args:
            error: the exception that left the block.
            attempt: the number of runs so far.
            block: its transaction; None if no connection could be borrowed for it.
        """
        if not isinstance(error, Error) or error.session != (None if block is None else block.session):
            return False
        if block is None:
            return self.should_retry(error, attempt)
        if block.by_hand:
            return False
        return self.should_retry(error, attempt, transaction_outcome(error, commit_sent=block.committing))

    def delay_before(self, attempt: int, random: Callable[[], float]) -> float:
        """Seconds to wait before the next run.

        Args:
            attempt: the number of runs so far, as in `should_retry`.
            random: returns a float in [0, 1).
        """
        delay = min(self.max_delay, self.delay * 2.0 ** min(attempt - 1, 60))
        return delay * (1.0 - self.jitter * random())

    def __repr__(self) -> str:
        return (
            f"Retry({self.attempts}, delay={self.delay}, max_delay={self.max_delay}, "
            f"jitter={self.jitter}, sqlstates={sorted(self.sqlstates)})"
        )
