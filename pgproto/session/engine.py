"""The engine: one session as the adapters drive it.  Events in, things to do out; no I/O, no waiting.

    what happened        submit  receive_data  receive_eof  transport_failed  data_sent  tick  abandon
    what to do about it  take_news: data_to_send  take_ready  take_notices  take_notifications  take_cancel
                         wants_read  next_deadline  finished

After every call of the first kind an adapter makes those of the second kind.

Operations are answered in the order in which they were submitted.  Each ends with a Sync of its own, so
that a failed operation does not affect the others.  A caller that goes away abandons its operation: the
engine reads on and drops the answers.

The engine is made of parts: `Turns` (the operations, and who may queue another one), `Alarm` (when to look at
the clock), `Stopping` and `Cancelling` (ending unwanted operations), `Ending` (the end of the session),
`Outgoing` (the bytes for the transport), `Unasked` (notices and notifications), `Watch` (tells observers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..config import Host
from ..errors import ConnectionLost, Error, LocalProtocolError, Outcome, PostgresError, RemoteProtocolError
from ..protocol import CLIENT, NEED_DATA, Closed, PGConnection, states
from ..wire import (
    BackendKeyData,
    ErrorResponse,
    NoticeResponse,
    NotificationResponse,
    ParameterStatus,
    Terminate,
    frames,
    tags,
)
from .alarm import Alarm
from .answers import altered
from .cancelling import NO_WISH, WANTED, Cancelling
from .channel import HIGH_WATER, Channel
from .ending import ALIVE, FINISHED, GRACE, LAST_WORDS, Ending
from .inbox import Unasked
from .lookup import Resolver
from .loss import Loss, out_of_time
from .news import CHANGE, HOLD, OUTPUT, READY, TIME
from .observing import Observer, Report, Watch
from .operation import GONE, SENT, WAITING, Operation
from .outgoing import Outgoing
from .preparing import Preparing
from .startup import ENCRYPT_NEVER
from .statements import Statement, StatementCache
from .stopping import Stopping
from .turns import Turns
from .whereabouts import Whereabouts

__all__ = ["GRACE", "Engine"]


class Engine:
    """One client session.

    Args:
        clock: tells monotonic time in seconds.
        statements: where the session's prepared statements are kept; by default as many as `Config` says.
        pipelining: False to have one segment in flight at most, for poolers that mix up those of clients.
        max_message_size: the largest message that is accepted, in bytes.
        observers: who is told what the session does.
        report: takes what they raise; by default that is dropped.

    Attributes:
        channel: the output of the operations.
        connection: the protocol's state machine.
        blocks: the open transaction blocks, and who may use the session while they are open.
        listeners: the listeners for notifications.
        parameters: the parameters that the server has reported.  Manual: "Asynchronous Operations".
        dropped_statements: append kept statements here, from any thread, when nobody refers to them any more.
        retiring: the session still answers, but should not be lent again.
        answered: when the server has last answered an operation, by the clock; None if never.
        session: a number that no other session of this process has; see `Error.session`.
        host, encryption: how the session was connected.
    """

    __slots__ = (
        "_alarm",
        "_cancelling",
        "_ending",
        "_outgoing",
        "_producing",
        "_resolver",
        "_stopping",
        "_unasked",
        "answered",
        "blocks",
        "channel",
        "clock",
        "connection",
        "dropped_statements",
        "encryption",
        "host",
        "listeners",
        "parameters",
        "retiring",
        "session",
        "turns",
    )

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        statements: StatementCache | None = None,
        pipelining: bool = True,
        max_message_size: int = frames.DEFAULT_MAX_MESSAGE_SIZE,
        observers: Sequence[Observer] = (),
        report: Report | None = None,
    ) -> None:
        statements = StatementCache() if statements is None else statements
        self.clock = clock
        self.connection = connection = PGConnection(CLIENT, max_message_size=max_message_size)
        self.channel = channel = Channel(connection, statements)
        channel.pipelining = pipelining
        if observers:
            channel.watch = Watch(observers, report, clock, channel.session)
        self.blocks = channel.blocks
        self.listeners = channel.listeners
        self.parameters = connection.parameters
        self.dropped_statements = statements.dropped
        self.turns = turns = Turns(channel)
        self._alarm = alarm = Alarm()
        self._cancelling = cancelling = Cancelling(turns, alarm)
        self._stopping = Stopping(clock, turns, alarm, cancelling)
        self._resolver = Resolver(turns, alarm, clock)
        self._ending = Ending(turns)
        self._producing = False  # `_produce` is running
        self._outgoing = Outgoing(channel)
        self._unasked = Unasked()
        self.session = channel.session
        self.retiring = False
        self.answered: float | None = None
        self.host: Host | None = None
        self.encryption = ENCRYPT_NEVER

    # ---- State

    @property
    def closed(self) -> bool:
        """True once operations can no longer be submitted."""
        return self.connection.closed is not None or self._ending.write_failed is not None

    @property
    def finished(self) -> bool:
        """True once the session is over and every operation has ended."""
        return self._ending.stage == FINISHED

    @property
    def cause(self) -> Exception | None:
        """The first cause of the session's end; None if it is alive or was closed by this side."""
        return self._ending.cause(self.connection.closed)

    @property
    def transaction_status(self) -> str:
        """The status of the last ReadyForQuery: "I" idle, "T" in a transaction block, "E" in a failed one."""
        return self.connection.transaction_status

    @property
    def idle(self) -> bool:
        """True if nothing is in flight, queued, unread or unsent."""
        return (
            not self.closed
            and not self.turns.queue
            and not self.channel.segments
            and not self._outgoing.pending
            and not self.connection.unread
            and self._cancelling.state == NO_WISH
        )

    @property
    def reusable(self) -> bool:
        """True if the session may be lent again: idle, in no transaction block, and not retiring."""
        return self.idle and not self.retiring and self.transaction_status == "I" and not self.blocks.open

    def check_open(self) -> None:
        """Raise ConnectionClosed, caused by the first cause, if the session is over."""
        if self.closed:
            error = self._ending.refusal(self.connection.closed)
            self.channel.sign(error)
            raise error

    @property
    def draining(self) -> bool:
        """True while there are requests in flight, and nobody waits for any of their answers."""
        return bool(self.channel.segments) and self.turns.unwanted()

    @property
    def dropped_messages(self) -> int:
        """The number of notices and notifications that were dropped because nobody took them."""
        return self._unasked.dropped

    def take_news(self) -> int:
        """The flags of what there is to do: OUTPUT, READY, CHANGE, HOLD, TIME.

        Pending output is encrypted first; if that fails, the session ends, which is a CHANGE.
        """
        channel = self.channel
        if channel.tls is not None:
            news = OUTPUT if self.data_to_send() else 0
        else:
            news = OUTPUT if channel.pending and self._ending.write_failed is None else 0
        if channel.ready:
            news |= READY
        if self.changed:
            news |= CHANGE
        if not self.turns.has_room():
            news |= HOLD
        if self.next_deadline() is not None:
            news |= TIME
        return news

    @property
    def changed(self) -> bool:
        """True if there are notices, notifications or a wish to cancel, or if the session has ended."""
        told = bool(self.listeners.woken) or not self._unasked.empty
        return told or self._cancelling.state == WANTED or self.closed

    @property
    def waiting(self) -> bool:
        """True if answers are outstanding: output may be delayed, to be sent together with later output."""
        return bool(self.channel.segments)

    @property
    def pipelining(self) -> bool:
        """True if requests may be sent while answers are outstanding.  Set it before the first query."""
        return self.channel.pipelining

    @pipelining.setter
    def pipelining(self, pipelining: bool) -> None:
        self.channel.pipelining = pipelining

    # ---- Session state that queries leave

    @property
    def dirty(self) -> bool:
        """True if a statement may have changed the session's state, or a prepared one is kept."""
        return self.channel.dirty

    @property
    def touched(self) -> bool:
        """True if anything was written since `forget_traces`."""
        return self.channel.touched

    def forget_traces(self) -> None:
        """Take the session's present state as clean."""
        self.channel.forget_traces()

    def prepare(self, sql: str) -> Statement:
        """A new statement for a caller to keep, with a name of its own; submit `Prepare` with it.

        Raises:
            LocalProtocolError: see `Statement`.
        """
        statements = self.channel.statements
        return Statement(sql, statements.new_name(), kept=True, types=statements.types)

    def forget(self, statement: Statement) -> None:
        """Close a statement on the server with the next requests.  Idempotent."""
        self.channel.statements.close(statement)

    # ---- What happened

    def start(self, operation: Operation) -> None:
        """Run the operation that starts the session (`Startup`, or a cancel request); see `submit`."""
        closed = self.connection.closed
        if closed is not None:  # the peer has already closed the connection
            operation.lost(self.channel, None, Loss(closed.error, closed.also))
            return
        self.turns.starting = operation
        self._alarm.set(operation.deadline)
        self._produce()

    def submit(self, operation: Operation) -> None:
        """Queue an operation; the first one starts the session.

        Raises:
            ConnectionClosed: the session is over.
            LocalProtocolError: a COPY or a stream is in progress, after which nothing can be queued, or
                another task's transaction block is open.
        """
        turns = self.turns
        if turns.starting is None and not self.connection.transaction_status:
            self.start(operation)
            return
        watch = self.channel.watch
        if watch is not None:
            watch.submitted(operation)  # before the session is looked at: an observer may end it
        try:
            self.check_open()
            turns.enter(operation)
        except LocalProtocolError as error:
            self.channel.sign(error)
            operation.turned_away(error)
            if watch is not None:
                watch.refused(operation, error)
            raise
        if operation.deadline is not None:
            if operation.deadline <= self.clock():
                operation.stopped = late = out_of_time()
                operation.lost(self.channel, None, late)
                return
            self._alarm.set(operation.deadline)
        # Asked when an operation first needs statements: a pooler's console, for one, supports neither.
        if self.channel.statements.unasked and isinstance(operation, Preparing) and turns.quiet:
            Whereabouts(operation.deadline).send(self.channel)
        turns.queue.append(operation)
        try:
            if len(turns.queue) > 1 or self.channel.segments:
                try:
                    operation.prepare(self.channel)
                except Exception as error:  # noqa: BLE001 - the operation's caller gets it
                    self._refused(operation, error)
            self._produce()
        except BaseException as error:  # an interrupt must not leave an operation that is sent later
            self._break(error)
            raise

    def resume(self) -> None:
        """Go on: an operation has more to write (COPY data), or room for more rows."""
        self._produce()

    def receive_data(self, data: bytes) -> None:
        """Bytes arrived from the transport (not b"": see `receive_eof`)."""
        self._stopping.received += 1
        watch = self.channel.watch
        tls = self.channel.tls
        if tls is not None:
            try:
                data = tls.receive_data(data)
            except RemoteProtocolError as error:
                self.connection.close(error)
                self._process()
                return
        try:
            if watch is not None:
                watch.received += len(data)
            if data:
                self.connection.receive_data(data)
            self._process()
        except BaseException as error:
            # A MemoryError or an interrupt may have left the state inconsistent.
            self._break(error)
            if not isinstance(error, Exception):
                raise
        if tls is not None and tls.eof:
            self.receive_eof()
        if watch is not None:
            watch.tell()

    def receive_eof(self) -> None:
        """The peer has closed its side of the connection: nothing more will arrive."""
        if self.finished:
            return
        self.connection.receive_data(b"")
        self._process()
        self._settle()

    def transport_failed(self, error: Exception) -> None:
        """Reading failed, or the transport is gone: nothing more will arrive."""
        if self.finished:
            return
        lost = ConnectionLost(f"the connection failed: {error}")
        lost.__cause__ = error
        self.connection.close(lost)
        self._process()
        self._settle()

    def write_failed(self, error: Exception) -> None:
        """Writing failed.  Nothing is sent any more, but earlier messages of the server can still arrive."""
        if self._ending.write_failed is None:
            self._ending.write_failed = error
            self._outgoing.discard()
            self._ending.begin(self.clock())

    def data_to_send(self) -> bytes:
        """The bytes for the transport; the same ones until `data_sent`."""
        if self._ending.write_failed is not None:
            return b""
        if self.channel.tls is None:
            return self.channel.output()
        try:
            return self._outgoing.data()
        except Error as error:
            self.connection.close(error)
            self._process()
            return self._outgoing.encrypted

    def data_sent(self, count: int) -> None:
        """The transport has taken `count` bytes of `data_to_send()`: they may reach the server."""
        self._outgoing.sent(count)
        if self.turns.queue:
            self._produce()
        if self.channel.watch is not None:
            self.channel.watch.tell()

    def tick(self) -> None:
        """See which deadlines have passed.  Call it at `next_deadline()`, or at any time."""
        now = self.clock()
        ending = self._ending
        if ending.stage != ALIVE:  # the first cause is known: only the wait for last words can run out
            if ending.stage == LAST_WORDS and now >= ending.until:
                if ending.write_failed is not None and self.connection.closed is None:
                    self.transport_failed(ending.write_failed)
                self._settle()
            return
        for operation in self._stopping.due(now):
            self._went_on(closed=self._stopping.overdue(operation, now))
        if self.channel.statements.unresolved:
            self._produce()

    def next_deadline(self) -> float | None:
        """The latest time to call `tick`, in seconds of the clock; None for never."""
        stage = self._ending.stage
        if stage == ALIVE:
            return self._alarm.at
        return self._ending.until if stage == LAST_WORDS else None

    def set_deadline(self, operation: Operation, deadline: float | None) -> None:
        """Change an operation's deadline, unless it is being stopped, which has a deadline of its own."""
        if not operation.unwanted:
            operation.deadline = deadline
            self._alarm.set(deadline)

    def abandon(self, operation: Operation, why: Loss | None = None) -> None:
        """Nobody waits for the operation any more, or it is taken from its caller.

        Requests that were not sent are dropped, others are cancelled and their answers dropped, within
        GRACE.  Where neither is possible the session ends.

        Args:
            operation: the operation.
            why: the reason for a caller that still waits; None if there is none.
        """
        if operation.finished or operation.abandoned:
            return
        operation.abandoned = True
        if operation.stopped is not None:
            return  # it is being stopped already
        operation.stopped = why
        if operation is self.turns.starting:
            self.connection.close(ConnectionLost("the connection attempt was abandoned"))
            self._process()
            return
        self._went_on(closed=self._stopping.stop(operation))

    def end_lease(self) -> None:
        """The session was given back to its pool: stop the operations of callers that still wait.

        A request that was sent is stopped as at its deadline: the caller learns its outcome.
        """
        if self.closed:
            return  # the callers get the session's error
        for operation in self._stopping.lease_over():
            self._went_on(closed=self._stopping.stop(operation))

    def give_up(self, operation: Operation) -> None:
        """Abandon an operation, and end it now with the outcome that is known by now."""
        self.abandon(operation)
        if not operation.finished:
            operation.give_up(self.channel)

    def stop_listening(self) -> None:
        """A `listen()` or its end has failed: send UNLISTEN for channels without a listener.

        That waits until no transaction block is open, because a rollback would undo the UNLISTEN.
        """
        self.listeners.unsettled = True
        if self.transaction_status == "I" and not self.channel.segments and not self.closed:
            self.turns.unlisten()
            self._produce()

    def close(self) -> None:
        """End the session, with a Terminate if no message is half sent.  Idempotent, never raises."""
        if self.closed or self.finished:
            self._settle()
            return
        clean = not self.channel.pending and self.connection.phase == states.READY
        self.channel.discard()
        if clean:
            self.channel.write(Terminate())
        try:
            self._outgoing.close()
        except Error as error:
            self.connection.close(error)
        self.connection.close()
        self._process()
        self._settle()

    # ---- What to do

    @property
    def wants_cancel(self) -> bool:
        """True if a cancel request should be sent: see `take_cancel`."""
        return self._cancelling.state == WANTED

    def take_ready(self) -> list[Operation]:
        """Operations that have ended or made progress since the last call."""
        channel = self.channel
        if channel.watch is not None:
            channel.watch.tell()
        ready = channel.ready
        if ready:
            channel.ready = []
        return ready

    def take_notices(self) -> list[NoticeResponse]:
        """The server's notices since the last call."""
        return self._unasked.take_notices()

    def take_notifications(self) -> list[NotificationResponse]:
        """The notifications (LISTEN) since the last call."""
        return self._unasked.take_notifications()

    def take_cancel(self, *, running: bool = False) -> BackendKeyData | None:
        """The key for a cancel request, to be sent now over a connection of its own, or None.

        Until `cancel_done` this session sends nothing new, so that a late request hits no other query.
        With `running` it is for the statement that runs, although its caller waits for it.
        """
        return self._cancelling.take_running() if running else self._cancelling.take()

    @property
    def running(self) -> BackendKeyData | None:
        """The key to cancel the running statement; None if nothing is in flight.

        Read it before closing the session: a server notices that its client is gone only when it next reads
        or writes; until then the statement goes on and keeps its locks.
        """
        return self.connection.backend_key if self.channel.segments else None

    def cancel_done(self) -> None:
        """The cancel request was delivered (the server closed its connection), or could not be."""
        self._cancelling.done(self.clock())
        self._produce()

    @property
    def exclusive(self) -> Operation | None:
        """The COPY or stream that has the session to itself until it ends, if there is one."""
        return self.turns.exclusive

    @property
    def wants_read(self) -> bool:
        """False while a consumer has to catch up (COPY OUT, streams)."""
        return self.turns.has_room()

    # ---- Internals

    def _went_on(self, *, closed: bool) -> None:
        if closed:
            self._process()
        else:
            self._produce()

    def _process(self) -> None:
        """Pass the received events to the operations, then let operations write."""
        connection = self.connection
        channel = self.channel
        segments = channel.segments
        turns = self.turns
        watch = channel.watch
        while (event := connection.next_event()) is not NEED_DATA:
            if isinstance(event, Closed):
                self._ended(event)
                return
            tag = event.type_byte
            if watch is not None:
                answering = segments[0].operation if segments else None
                watch.heard(answering, connection.unread, not states.IS_ASYNCHRONOUS[tag])
            try:
                if states.IS_ASYNCHRONOUS[tag]:
                    if not isinstance(event, ParameterStatus):
                        self._unasked.put(event)
                    elif turns.starting is None:
                        self.retiring = altered(channel, event) or self.retiring
                elif (starting := turns.starting) is not None:
                    starting.handle_start(channel, event)
                    if starting.finished:
                        self._started()
                elif tag == tags.READY_FOR_QUERY:
                    segment = segments[0]
                    operation = segment.operation
                    operation.segment_done(channel, segment)  # still the oldest; `status_before` is before it
                    operation.unanswered -= 1
                    segments.popleft()
                    channel.status_before = connection.transaction_status
                    self.answered = self.clock()
                    if operation.again:
                        turns.again(operation)
                        self._alarm.set(operation.deadline)
                    if segments:
                        self._cancelling.ask_for_next()
                    else:
                        if self._cancelling.state == WANTED:
                            self._cancelling.drop()  # the server is idle
                        if operation.exclusive:
                            turns.all_answered()
                    if operation.transaction is not None:
                        turns.see_to_block(segment)
                    if channel.listeners.unsettled and connection.transaction_status == "I":
                        channel.transaction_ended(committed=segment.committed)
                        if not segments and not self.closed:
                            turns.unlisten()
                elif segments:
                    segment = segments[0]
                    if isinstance(event, ErrorResponse):
                        self.retiring = channel.retires(event) or self.retiring
                    segment.operation.handle(channel, segment, event)
            except (RemoteProtocolError, LocalProtocolError) as error:
                connection.close(error)
        if turns.queue or turns.starting is not None:
            self._produce()

    def _break(self, error: BaseException) -> None:
        """An exception has left the state inconsistent: end the session and every operation."""
        lost = ConnectionLost(f"the session was ended by {type(error).__name__} in the middle of a step")
        lost.__cause__ = error
        self.connection.close(lost)
        self._process()
        self._settle()

    def _produce(self) -> None:
        """Let operations write, in order, up to the high-water mark."""
        channel = self.channel
        if self.closed:
            return
        starting = self.turns.starting
        if starting is not None:
            starting.produce(channel)
            if channel.connection.closed is not None:
                self._process()
            return
        if self._producing:
            return  # called back by a value that is being encoded: the loop below will see the change
        self._producing = True
        queue = self.turns.queue
        try:
            if channel.statements.unresolved and queue and self._cancelling.state == NO_WISH:
                self._resolver.go_on()
            while queue and channel.pending < HIGH_WATER and self._cancelling.state == NO_WISH:
                operation = queue[0]
                if not channel.may_open and channel.segments[-1].operation is not operation:
                    break
                try:
                    status = operation.produce(channel)
                except Exception as error:  # noqa: BLE001 - the operation's caller gets it
                    self._refused(operation, error)
                    status = GONE
                if status == SENT:
                    queue.popleft()
                elif status == WAITING or (status == GONE and self.closed):
                    break
        except BaseException as error:
            # An interrupt, which may have left the state inconsistent.  (Values raise in `produce`.)
            self._break(error)
            raise
        finally:
            self._producing = False

    def _refused(self, operation: Operation, error: Exception) -> None:
        """The operation could not be written.  If a part of its segment was, the session ends."""
        if operation.begun or self.channel.awaits(operation):
            if isinstance(error, LocalProtocolError):
                self.connection.close(error)
                self._process()
            else:
                self._break(error)
        else:
            self.turns.leave(operation)
            if isinstance(error, Error):
                error.outcome = Outcome.NOT_SENT
            operation.withdraw(self.channel, error)

    def _started(self) -> None:
        """The session has started: its deadline no longer counts, only those of the operations."""
        self.turns.starting = None
        self._alarm.clear()
        for operation in self.turns.all():
            self._alarm.set(operation.deadline)

    def _ended(self, closed: Closed) -> None:
        """The session is over.  After an error of the server, wait for EOF: more errors may follow."""
        if closed.error is not None:
            self.channel.discard()
        if self._ending.stage == ALIVE:
            self._ending.begin(self.clock())
        if not isinstance(closed.error, PostgresError):
            self._settle()

    def _settle(self) -> None:
        """End every operation, if the session is over.  Runs once."""
        closed = self.connection.closed
        if closed is not None and not self.finished:
            self._ending.settle(closed)
            self._resolver.end()
            self._cancelling.drop()
