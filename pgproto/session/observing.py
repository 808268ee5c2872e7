"""The seam for observers: who wants to see what the sessions of a connector do.

An `Observer` is told of each operation that was submitted: at once when it is submitted, in the caller's own
task or thread, and later that its first byte was handed over, that its first answer has come, and that it has
ended.  These three are told between two steps of the engine (`Engine.receive_data`, `data_sent`,
`take_ready`), so an observer never sees a session in the middle of a change, and before the caller goes on.

Rule: without observers there is no `Watch`, and each place that has something to tell costs one comparison.
Rule: an observer changes nothing.  What it raises goes to `report`, and the session goes on.
Rule: times are those of the engine's clock, at the moment of the event and not when it is told.

What the engine does for itself (start-up, looking up types, closing what is left) is not told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from ..errors import Error, Outcome
from ..wire.hints import mypyc_attr

if TYPE_CHECKING:
    from ..config import Host
    from .operation import Operation

__all__ = ["Exchange", "Observer", "Report", "SessionInfo", "Watch"]

Report = Callable[[str, BaseException], None]
"""Takes an exception that nobody waits for, and a name for what has raised it.

It may raise the exception again if that must propagate, such as KeyboardInterrupt.
"""

_SENT: Final = 0
_ANSWERED: Final = 1
_ENDED: Final = 2


class SessionInfo:
    """The session that an exchange belongs to.

    Attributes:
        number: a number that no other session of this process has; see `Error.session`.
        host: the server's address; None if the engine was not made by a `Connector`.
        database, user: as in the configuration.
        pid: the process ID of the server process; 0 if it is not known (yet).
    """

    __slots__ = ("database", "host", "number", "pid", "user")

    def __init__(self, number: int) -> None:
        self.number = number
        self.host: Host | None = None
        self.database = ""
        self.user = ""
        self.pid = 0

    def __repr__(self) -> str:
        return f"<session {self.number} with {self.host}, pid {self.pid}>"


class Exchange:
    """One operation, as observers see it: one object from its submission to its end.

    Attributes:
        session: where it runs.
        operation: the operation.  It has the values of the parameters, which may be secrets.
        kind: the name of its class: "Execution" (queries and batches), "Script", "CopyIn", ...
        statements: the texts that it runs, in order; without the values of parameters.
        submitted_at: when it was submitted, in seconds of the engine's clock.
        sent_at: when its first byte was handed over to the transport; None if that has not happened.
        answered_at: when the first answer arrived; None if none has.
        ended_at: when it ended; None before that.
        bytes_out, bytes_in: the sizes of its messages, without those of TLS; the answers include notices and
            notifications that came with them.
        tag: the command tag of its last statement; "" if there is none.
        rows: the number of rows that its command tags have, or that were fetched.
        outcome: what became of it, as far as it is known; None before its end.
        error: the exception that its caller gets; None if there is none.  Of a batch with `atomic=False` each
            item has its own.
        notes: for observers, to keep something until the end: use yourself as the key.
    """

    __slots__ = (
        "answered_at",
        "bytes_in",
        "bytes_out",
        "ended_at",
        "error",
        "kind",
        "notes",
        "operation",
        "outcome",
        "rows",
        "sent_at",
        "session",
        "start",
        "statements",
        "submitted_at",
        "tag",
    )

    def __init__(self, session: SessionInfo, operation: Operation, now: float) -> None:
        self.session = session
        self.operation = operation
        self.kind = type(operation).__name__
        self.statements = operation.statements()
        self.submitted_at = now
        self.sent_at: float | None = None
        self.answered_at: float | None = None
        self.ended_at: float | None = None
        self.bytes_out = 0
        self.bytes_in = 0
        self.tag = ""
        self.rows = 0
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self.notes: dict[object, object] = {}
        self.start = -1  # the stream position of its first byte, once it has one

    @property
    def sql(self) -> str:
        """Its statements as one text; "" if it has none."""
        statements = self.statements
        return statements[0] if len(statements) == 1 else ";\n".join(statements)

    @property
    def seconds(self) -> float | None:
        """From its submission to its end; None before that."""
        return None if self.ended_at is None else self.ended_at - self.submitted_at

    def __repr__(self) -> str:
        state = "under way" if self.ended_at is None else "ended"
        return f"<Exchange {self.kind} in session {self.session.number}, {state}>"


@mypyc_attr(allow_interpreted_subclasses=True)
class Observer:
    """Is told what sessions do.  Subclass it, and override what you want to hear.

    The methods are called in the middle of the session's work, so they must be quick, must not wait and must
    not use the connection.  What they raise is reported as the exceptions of `on_notice` are, and changes
    nothing.  One observer may serve any number of sessions, in several threads.
    """

    __slots__ = ()

    def submitted(self, exchange: Exchange) -> None:
        """An operation was submitted, in this very task or thread.

        Args:
            exchange: the operation; the same object in all four calls.
        """

    def sent(self, exchange: Exchange) -> None:
        """Its first byte was handed over to the transport."""

    def answered(self, exchange: Exchange) -> None:
        """Its first answer has arrived."""

    def ended(self, exchange: Exchange) -> None:
        """It has ended, exactly once for each that was submitted; what it has returned is known."""


class Watch:
    """Tells the observers of one session.  The engine and its channel call it.

    Args:
        observers: whom to tell.
        report: takes what they raise; None to drop it.
        clock: tells monotonic time in seconds.
        number: the session's number.

    Attributes:
        session: what observers are told of the session.
        received: the number of bytes that have arrived.
    """

    __slots__ = (
        "_clock",
        "_consumed",
        "_exchanges",
        "_mark",
        "_news",
        "_observers",
        "_report",
        "_telling",
        "_unsent",
        "_writer",
        "received",
        "session",
    )

    def __init__(
        self, observers: Sequence[Observer], report: Report | None, clock: Callable[[], float], number: int
    ) -> None:
        self.session = SessionInfo(number)
        self.received = 0
        self._observers = list(observers)
        self._report = report
        self._clock = clock
        self._exchanges: dict[int, Exchange] = {}  # those that have not ended, by their operation's id
        self._news: deque[tuple[int, Exchange]] = deque()  # what is not told yet
        self._telling = False
        self._unsent: deque[Exchange] = deque()  # those with written bytes, none of which was handed over
        self._writer: Exchange | None = None  # whose bytes are being written, from `_mark` on
        self._mark = 0
        self._consumed = 0

    def submitted(self, operation: Operation) -> None:
        """An operation is about to be queued."""
        exchange = Exchange(self.session, operation, self._clock())
        self._exchanges[id(operation)] = exchange
        for observer in self._observers:
            try:
                observer.submitted(exchange)
            except BaseException as error:  # noqa: BLE001 - an observer changes nothing
                self._raised(error)

    def refused(self, operation: Operation, error: BaseException) -> None:
        """It was not queued."""
        exchange = self._exchanges.pop(id(operation))
        self._end(exchange, error, Outcome.NOT_SENT)
        self.tell()

    def opened(self, operation: Operation, produced: int) -> None:
        """An operation begins a segment at this stream position."""
        self._count(produced)
        self._writer = exchange = self._exchanges.get(id(operation))
        if exchange is not None and exchange.start < 0:
            exchange.start = produced
            self._unsent.append(exchange)

    def _count(self, produced: int) -> None:
        """All bytes up to here are those of the last segment."""
        if self._writer is not None:
            self._writer.bytes_out += max(0, produced - self._mark)  # less if output was discarded
        self._mark = produced

    def handed_over(self, position: int) -> None:
        """The transport has taken all bytes before this stream position."""
        unsent = self._unsent
        while unsent and unsent[0].start < position:
            exchange = unsent.popleft()
            exchange.sent_at = self._clock()
            self._news.append((_SENT, exchange))

    def heard(self, operation: Operation | None, unread: int, asked: bool) -> None:
        """An event has come.

        Args:
            operation: the operation that is being answered; None if there is none.
            unread: the number of received bytes that were not read yet.
            asked: the event is one of its answers.
        """
        consumed = self.received - unread
        exchange = None if operation is None else self._exchanges.get(id(operation))
        if exchange is not None:
            exchange.bytes_in += consumed - self._consumed
            if asked and exchange.answered_at is None:
                exchange.answered_at = self._clock()
                self._news.append((_ANSWERED, exchange))
        self._consumed = consumed

    def ended(self, operation: Operation, produced: int, status: str) -> None:
        """An operation has ended.

        Args:
            operation: the operation.
            produced: the stream position.
            status: the session's transaction status.
        """
        exchange = self._exchanges.pop(id(operation), None)
        if exchange is None:
            return
        if exchange is self._writer:
            self._count(produced)
            self._writer = None
        exchange.tag, exchange.rows, outcome = operation.result()
        error = operation.error
        if isinstance(error, Error):
            outcome = error.outcome
        elif outcome is None and error is None:
            outcome = Outcome.COMMITTED if status == "I" else Outcome.OK_IN_TX
        self._end(exchange, error, outcome)

    def _end(self, exchange: Exchange, error: BaseException | None, outcome: Outcome | None) -> None:
        exchange.error = error
        exchange.outcome = outcome
        exchange.ended_at = self._clock()
        self._news.append((_ENDED, exchange))

    def tell(self) -> None:
        """Tell what there is.  An observer that calls back into the session is told the rest later."""
        news = self._news
        if self._telling or not news:
            return
        self._telling = True
        try:
            while news:
                what, exchange = news.popleft()
                for observer in self._observers:
                    self._tell(observer, what, exchange)
        finally:
            self._telling = False

    def _tell(self, observer: Observer, what: int, exchange: Exchange) -> None:
        try:
            if what == _SENT:
                observer.sent(exchange)
            elif what == _ANSWERED:
                observer.answered(exchange)
            else:
                observer.ended(exchange)
        except BaseException as error:  # noqa: BLE001 - an observer changes nothing
            self._raised(error)

    def _raised(self, error: BaseException) -> None:
        if self._report is not None:
            self._report("an observer", error)
