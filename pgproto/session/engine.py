"""The engine: one session as the adapters drive it.  Events in, things to do out; no I/O, no waiting.

    what happened        submit  receive_data  receive_eof  transport_failed  data_sent  tick  abandon
    what to do about it  take_news: data_to_send  take_ready  take_notices  take_notifications  take_cancel
                         wants_read  next_deadline  finished

After every call of the first kind an adapter looks at all of the second kind.

Operations are answered in the order in which they were submitted (FIFO), each closed by a Sync of its
own, so that one that fails leaves its neighbours alone.  Nobody but the engine knows who waits for what:
a caller that goes away abandons its operation, and the engine reads on and drops the answers.

How a session ends is in `lifeline`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..config import Host
from ..errors import ConnectionLost, Error, LocalProtocolError, Outcome, QueryTimeout, RemoteProtocolError
from ..protocol import CLIENT, NEED_DATA, Closed, Connection, states
from ..wire import (
    BackendKeyData,
    ErrorResponse,
    Message,
    NoticeResponse,
    NotificationResponse,
    ParameterStatus,
    Terminate,
    frames,
    tags,
)
from .channel import HIGH_WATER, Channel
from .inbox import Inbox
from .lifeline import GRACE, LONGEST_GRACE, Lifeline
from .loss import Loss, lease_over, out_of_time
from .operation import GONE, SENT, WAITING, Operation
from .preparing import Preparing
from .script import Script
from .segment import Segment
from .startup import ENCRYPT_NEVER, check_parameter
from .statements import StatementCache
from .whereabouts import Whereabouts

if TYPE_CHECKING:  # ssl is not loaded before TLS is asked for
    from ..protocol.tls import TLS

__all__ = ["CHANGE", "GRACE", "HOLD", "OUTPUT", "READY", "TIME", "Engine"]

# What `Engine.take_news` is made of.
OUTPUT: Final = 1  # there are bytes for the transport: data_to_send
READY: Final = 2  # operations have ended or made progress: take_ready
CHANGE: Final = 4  # notices, notifications, a wish to cancel, or the end: take_..., finished
HOLD: Final = 8  # nothing should be read: a consumer has to catch up
TIME: Final = 16  # there is a deadline: next_deadline

# Errors after which a session is not lent again, although it may still answer: the server is a standby now
# (25006), or it or a pooler in front of it is going away.  Manual: "PostgreSQL Error Codes".
_RETIRING: Final = ("25006", "57P01", "57P02", "57P03", "08")


class Engine(Lifeline):
    """One client session.

    Args:
        clock: tells monotonic time in seconds.
        prefix: what makes this session's statement names its own.
        statement_cache_size: how many prepared statements are kept.
        named_statements: False for poolers that switch servers between transactions.
        pipelining: False to have one segment (what ends in one ReadyForQuery) in flight at most, for poolers
            that mix up those of different clients.
        max_message_size: the largest message that is accepted, in bytes.
    """

    __slots__ = (
        "_heard",
        "_notices",
        "_notifications",
        "_patience",
        "_received",
        "encryption",
        "host",
    )

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        prefix: str = "pgproto_",
        statement_cache_size: int = 100,
        named_statements: bool = True,
        pipelining: bool = True,
        max_message_size: int = frames.DEFAULT_MAX_MESSAGE_SIZE,
    ) -> None:
        connection = Connection(CLIENT, max_message_size=max_message_size)
        statements = StatementCache(statement_cache_size, prefix, named=named_statements)
        super().__init__(clock, Channel(connection, statements))
        self._received = 0  # how often something was
        self._heard = 0  # what it was when the session was last given GRACE
        self._patience = 0.0  # when nothing gives it more
        self.pipelining = pipelining
        self.host: Host | None = None
        self.encryption = ENCRYPT_NEVER
        self._notices = Inbox()
        self._notifications = Inbox()

    # ---- What is known

    @property
    def dropped_messages(self) -> int:
        """How many notices and notifications were dropped because nobody took them."""
        return self._notices.dropped + self._notifications.dropped

    def take_news(self) -> int:
        """What there is to do: OUTPUT, READY, CHANGE, HOLD, TIME, as many as apply.  One question for all.

        What waits to be sent is encrypted for it; if that fails, the session ends, and that is a CHANGE.
        """
        channel = self.channel
        news = 0
        if channel.tls is not None:
            news = OUTPUT if self.data_to_send() else 0
        elif channel.pending and self._write_failed is None:
            news = OUTPUT
        if channel.ready:
            news |= READY
        inboxes = len(self._notices) + len(self._notifications)
        if inboxes > 0 or channel.listeners.woken or self._wants_cancel or self.finished or self.closed:
            news |= CHANGE
        if not self.wants_read:
            news |= HOLD
        if self.next_deadline() is not None:
            news |= TIME
        return news

    @property
    def waiting(self) -> bool:
        """True if answers are outstanding: what is submitted now may as well wait for what follows it."""
        return bool(self.channel.segments)

    @property
    def pipelining(self) -> bool:
        """True if more may be sent while answers are outstanding.  To be set before the first query."""
        return self.channel.pipelining

    @pipelining.setter
    def pipelining(self, pipelining: bool) -> None:
        self.channel.pipelining = pipelining

    # ---- What happened

    def start(self, operation: Operation) -> None:
        """Run the operation that starts the session (`Startup`, or a cancel request); see `submit`."""
        closed = self.connection.closed
        if closed is not None:  # the peer hung up at once
            operation.lost(self.channel, None, Loss(closed.error, closed.also))
            return
        self._starting = operation
        self._note_deadline(operation)
        self._produce()

    def submit(self, operation: Operation) -> None:
        """Queue an operation; the first one of all starts the session.

        Raises:
            ConnectionClosed: the session is over.
            LocalProtocolError: a COPY or a stream is in progress, behind which nothing can be queued, or
                the session is inside of somebody else's transaction.
        """
        if not self.transaction_status and self._starting is None:
            self.start(operation)
            return
        try:
            self._check_turn(operation)
        except LocalProtocolError as error:
            self.channel.sign(error)
            operation.turned_away(error)
            raise
        if operation.exclusive:
            self._busy = operation
        blocks = self.channel.blocks.open
        if blocks and not operation.last_word:
            operation.transaction = blocks[-1]
        if self._too_late(operation):
            return
        self._note_deadline(operation)
        if self.channel.statements.unasked:
            self._ask_whereabouts(operation)
        self._queue.append(operation)
        try:
            if len(self._queue) > 1 or self.channel.segments:
                try:
                    operation.prepare(self.channel)
                except Exception as error:  # noqa: BLE001 - it is told to the operation's caller
                    self._refused(operation, error)
            self._produce()
        except BaseException as error:  # an interrupt: it must leave nothing that would be sent later
            self._break(error)
            raise

    def resume(self) -> None:
        """An operation has got more to write (COPY data), or room for more rows: go on."""
        self._produce()

    def receive_data(self, data: bytes) -> None:
        """Bytes arrived from the transport (not b"": see `receive_eof`)."""
        self._received += 1
        tls = self.channel.tls
        if tls is not None:
            try:
                data = tls.receive_data(data)
            except RemoteProtocolError as error:
                self.connection.close(error)
                self._process()
                return
        try:
            if data:
                self.connection.receive_data(data)
            self._process()
        except BaseException as error:
            # It is torn: a MemoryError at a bad moment, or an interrupt.
            self._break(error)
            if not isinstance(error, Exception):
                raise
        if tls is not None and tls.eof:
            self.receive_eof()

    def receive_eof(self) -> None:
        """The peer has closed its side: nothing more will arrive."""
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
        """Writing failed.  Nothing is ever sent again, but what the server said before can still arrive."""
        if self._write_failed is None:
            self._write_failed = error
            self.channel.discard()
            self._tls_output = b""
            self._await_the_end()

    def data_to_send(self) -> bytes:
        """The bytes for the transport; the same ones until `data_sent` says that they were taken."""
        if self._write_failed is not None:
            return b""
        tls = self.channel.tls
        if tls is None:
            return self.channel.output()
        plain = self.channel.output()
        if plain and len(self._tls_output) < HIGH_WATER:
            self._encrypt(tls, plain)
        self._tls_output += tls.data_to_send()
        return self._tls_output

    def data_sent(self, count: int) -> None:
        """The transport took `count` bytes of `data_to_send()`: they may reach the server."""
        if self.channel.tls is None:
            self.channel.taken(count)
        else:
            self._tls_output = self._tls_output[count:]
        if self._queue:
            self._produce()

    def tick(self) -> None:
        """Time has passed: see what is overdue.  Call it at `next_deadline()`, or whenever."""
        now = self.clock()
        if self._over_at is not None:  # it is over: no deadline says more than its last words
            if now >= self._over_at:
                self._give_up()
            return
        if self._earliest is None or now < self._earliest:
            return
        self._earliest = None
        if self._repeat is not None:
            if now >= self._repeat:
                self._repeat_cancel()
            else:
                self._note_time(self._repeat)
        for operation in self._operations():
            deadline = operation.deadline
            if deadline is None:
                continue
            if now < deadline:
                self._note_deadline(operation)
            else:
                self._overdue(operation, now)

    def next_deadline(self) -> float | None:
        """When `tick` should be called at the latest, in the clock's seconds; None for never."""
        if self.finished:
            return None
        if self._over_at is not None:
            return self._over_at
        return self._earliest

    def set_deadline(self, operation: Operation, deadline: float | None) -> None:
        """Change an operation's deadline; one that is being stopped keeps what it got for that."""
        if not operation.unwanted:
            operation.deadline = deadline
            self._note_deadline(operation)

    def abandon(self, operation: Operation, why: Loss | None = None) -> None:
        """Nobody waits for the operation any more, or it is taken from its caller.

        What was not sent is not sent any more; what was sent is cancelled, read to its end and dropped,
        within GRACE; where neither is possible the session ends.

        Args:
            operation: which.
            why: what a caller is told that waits for it all the same; None if there is none.
        """
        if operation.finished or operation.abandoned:
            return
        operation.abandoned = True
        if operation.stopped is not None:
            return  # it is being stopped already
        operation.stopped = why
        if operation is self._starting:
            self.connection.close(ConnectionLost("the connection attempt was abandoned"))
            self._process()
            return
        self._stop(operation)

    def end_lease(self) -> None:
        """The session was given back to its pool: callers who still wait for something of it are told.

        A call that has been sent is stopped as at its deadline: what it has done by then, it is told.
        """
        if self.closed:
            return  # that is what they are told
        why = lease_over()
        busy = self.exclusive
        # The last one first: a cancel request is for what the server is at; each gets its own in turn.
        for operation in reversed(self._operations()):
            if operation is busy:
                self.abandon(operation, why)
            elif not operation.finished and not operation.unwanted:
                operation.stopped = why
                self._stop(operation)

    def give_up(self, operation: Operation) -> None:
        """Abandon an operation, and end it now: what it says is what is known by now, and does not change."""
        self.abandon(operation)
        if not operation.finished:
            operation.give_up(self.channel)

    def stop_listening(self) -> None:
        """A `listen()` has failed, or its end: what the server listens to for nobody is taken back.

        As soon as no transaction is open: in one that is rolled back, UNLISTEN would be undone.
        """
        self.channel.listeners.unsettled = True
        if self.transaction_status == "I" and not self.channel.segments:
            self._unlisten_leftover()
            self._produce()

    def close(self) -> None:
        """End the session: a Terminate where the stream allows one.  Idempotent, never raises."""
        if self.closed or self.finished:
            self._settle()
            return
        clean = not self.channel.pending and self.connection.phase == states.READY
        self.channel.discard()
        tls = self.channel.tls
        if clean:
            self.channel.write(Terminate())
            if tls is not None:
                self._encrypt(tls, self.channel.output())
        if tls is not None:
            tls.close()  # leaves its close_notify behind what was sent
        self.connection.close()
        self._process()
        self._settle()

    # ---- What to do

    @property
    def wants_cancel(self) -> bool:
        """True if a cancel request shall be sent: see `take_cancel`."""
        return self._wants_cancel

    def take_ready(self) -> list[Operation]:
        """Operations that have ended or made progress since the last call."""
        ready = self.channel.ready
        if ready:
            self.channel.ready = []
        return ready

    def take_notices(self) -> list[NoticeResponse]:
        """The server's notices since the last call."""
        return [notice for notice in self._notices.take() if isinstance(notice, NoticeResponse)]

    def take_notifications(self) -> list[NotificationResponse]:
        """The notifications (LISTEN) since the last call."""
        taken = self._notifications.take()
        return [each for each in taken if isinstance(each, NotificationResponse)]

    def take_cancel(self) -> BackendKeyData | None:
        """The key for a cancel request that shall be sent now over a connection of its own, or None.

        Until `cancel_done` nothing new is sent here, so that a late cancel hits nobody else.
        """
        if not self._wants_cancel:
            return None
        self._wants_cancel = False
        key = self.connection.backend_key
        self._cancelling = key is not None
        return key

    @property
    def running(self) -> BackendKeyData | None:
        """The key to cancel what the server may be running; None if nothing is in flight.

        To be looked at before the session is closed: a server notices that its client is gone only when it
        next reads or writes, and until then the statement goes on, and so do its locks.
        """
        return self.connection.backend_key if self.channel.segments else None

    def cancel_done(self) -> None:
        """The cancel request was delivered (the server closed its connection), or could not be."""
        self._cancelling = False
        self._repeat_later()
        self._ask_for_next()
        self._produce()

    @property
    def exclusive(self) -> Operation | None:
        """The COPY or the stream that has the session for itself until it ends, if there is one."""
        busy = self._busy
        return None if busy is None or busy.finished else busy

    @property
    def wants_read(self) -> bool:
        """False while a consumer has to catch up (COPY OUT, streams)."""
        busy = self.exclusive
        return busy is None or busy.has_room()

    # ---- The inside

    def _ask_whereabouts(self, operation: Operation) -> None:
        """Ask before the first operation that needs statements: a pooler's console, say, knows neither."""
        idle = self.transaction_status == "I" and not self._queue and not self.channel.segments
        if idle and isinstance(operation, Preparing):
            Whereabouts(operation.deadline).send(self.channel)

    def _overdue(self, operation: Operation, now: float) -> None:
        if operation.unwanted or operation.finished:
            self._out_of_grace(operation, now)
            return
        operation.stopped = out_of_time()
        if operation is self._starting:
            self.connection.close(QueryTimeout("the server did not complete the start-up in time"))
            self._process()
            return
        self._stop(operation)

    def _stop(self, operation: Operation) -> None:
        """Bring an operation to its end that its caller does not want any more."""
        operation.cancel_asked = not operation.needs_cancel()
        if not operation.begun:
            if operation in self._queue:  # or an interrupt came before it was
                self._queue.remove(operation)
            if self._left_alone(operation):
                operation.skip_rest(self.channel)  # it ends when the server has answered its Parse
            else:
                operation.lost(self.channel, None, operation.why())
        elif operation.half_written():
            self.connection.close(QueryTimeout("the query was stopped before all of it was sent"))
            self._process()
            return
        else:
            operation.skip_rest(self.channel)
        now = self.clock()
        operation.deadline = now + GRACE
        self._note_deadline(operation)
        self._heard = self._received
        self._patience = now + LONGEST_GRACE
        self._ask_for_cancel(operation)
        self._produce()

    def _out_of_grace(self, operation: Operation, now: float) -> None:
        """A stopped operation, or what is left of it on the wire, did not end in time."""
        if operation.finished and self._ask_for_cancel(operation):
            # Others were in front when its caller was told; now it is what the server is at.
            operation.deadline = now + GRACE
            self._note_deadline(operation)
            return
        if self._unwanted():
            if operation.abandoned and self._received != self._heard and now < self._patience:
                # Nobody waits for it, and what the network had taken in already is still being read.
                self._heard = self._received
                operation.deadline = min(now + GRACE, self._patience)
                self._note_deadline(operation)
                return
            self.connection.close(QueryTimeout("the deadline passed, and the query could not be cancelled"))
            self._process()
            return
        # Others wait behind it, so the session goes on; this caller does not wait for the answers.
        if not operation.finished:
            operation.give_up(self.channel)
        operation.deadline = now + GRACE
        self._note_deadline(operation)

    def _process(self) -> None:
        """Turn received bytes into progress."""
        connection = self.connection
        segments = self.channel.segments
        while True:
            event = connection.next_event()
            if event is NEED_DATA:
                break
            if isinstance(event, Closed):
                self._ended(event)
                return
            tag = event.type_byte
            try:
                if states.IS_ASYNCHRONOUS[tag]:
                    self._asynchronous(event)
                elif (starting := self._starting) is not None:
                    starting.handle_start(self.channel, event)
                    if starting.finished:
                        self._started()
                elif tag == tags.READY_FOR_QUERY:
                    segment = segments[0]
                    segment.operation.segment_done(self.channel, segment)
                    segments.popleft()
                    self.channel.status_before = connection.transaction_status
                    self.answered = True
                    if segment.operation.again:
                        self._queue_again(segment.operation)
                    if segments:
                        self._ask_for_next()
                    else:
                        self._wants_cancel = False  # there is nothing left for it
                    if segment.operation.transaction is not None:
                        self._see_to_block(segment)
                    listeners = self.channel.listeners
                    if listeners.unsettled and self.transaction_status == "I":
                        listeners.transaction_ended(committed=segment.error is None)
                        if not segments:
                            self._unlisten_leftover()
                elif segments:
                    segment = segments[0]
                    if isinstance(event, ErrorResponse) and event.fields.get("C", "").startswith(_RETIRING):
                        self.retiring = True
                    segment.operation.handle(self.channel, segment, event)
            except (RemoteProtocolError, LocalProtocolError) as error:
                connection.close(error)
        self._produce()

    def _ask_for_next(self) -> None:
        """What the server is at now may be unwanted as well."""
        segments = self.channel.segments
        if segments and segments[0].operation.unwanted and not segments[0].operation.finished:
            self._ask_for_cancel(segments[0].operation)

    def _queue_again(self, operation: Operation) -> None:
        """It goes before all that has not begun."""
        operation.again = False
        queue = self._queue
        queue.insert(1 if queue and queue[0].begun else 0, operation)
        self._note_deadline(operation)

    def _unlisten_leftover(self) -> None:
        sql = self.channel.listeners.take_leftover()
        if sql and not self.closed:
            script = Script(sql)
            script.abandoned = True  # nobody waits for it
            self._queue_again(script)

    def _break(self, error: BaseException) -> None:
        """Something went wrong in the middle of a step: end the session, and tell everybody."""
        lost = ConnectionLost(f"the session was ended by {type(error).__name__} in the middle of a step")
        lost.__cause__ = error
        self.connection.close(lost)
        self._process()
        self._settle()

    def _see_to_block(self, segment: Segment) -> None:
        """A segment in a transaction block was answered: is there a block still?"""
        idle = self.transaction_status == "I"
        if segment.operation.last_word:
            return
        if idle and segment.prologue:
            self._begin_failed(segment)
        elif idle or (not segment.plain and segment.operation.ends_block(self.channel, segment)):
            self._ended_by_hand(segment)

    def _encrypt(self, tls: TLS, plain: bytes) -> None:
        try:
            tls.send(plain)
            self.channel.taken(len(plain))
        except Error as error:
            self.connection.close(error)
            self._process()

    def _asynchronous(self, event: Message) -> None:
        if isinstance(event, ParameterStatus):
            if self._starting is None:
                self.channel.dirty = True
                check_parameter(event.name, event.value)
                # A promotion or a demotion: the session is not what was asked for any more.
                self.retiring = self.retiring or event.name == "in_hot_standby"
        elif isinstance(event, NoticeResponse):
            self._notices.put(event, sum(map(len, event.fields.values())))
        else:
            assert isinstance(event, NotificationResponse)  # see ASYNCHRONOUS
            self._notifications.put(event, len(event.channel) + len(event.payload))

    def _produce(self) -> None:
        """Let operations write, in order, up to the high-water mark."""
        channel = self.channel
        if self.closed:
            return
        if self._starting is not None:
            self._starting.produce(channel)
            if channel.connection.closed is not None:
                self._process()
            return
        if self._producing:
            return  # a value that is being encoded has called back: what it asked for comes after it
        self._producing = True
        queue = self._queue
        try:
            while queue and channel.pending < HIGH_WATER and not self._cancelling and not self._wants_cancel:
                operation = queue[0]
                if not channel.may_open and channel.segments[-1].operation is not operation:
                    break
                try:
                    status = operation.produce(channel)
                except Exception as error:  # noqa: BLE001 - it is told to the operation's caller
                    self._refused(operation, error)
                    status = GONE
                if status == SENT:
                    queue.popleft()
                elif status == WAITING or (status == GONE and self.closed):
                    break
        except BaseException as error:
            # An interrupt (what a value raises, `produce` keeps for the caller): anything may be torn.
            self._break(error)
            raise
        finally:
            self._producing = False

    def _refused(self, operation: Operation, error: Exception) -> None:
        """Something could not be written: as a rule, a message that does not fit the wire.

        Harmless if nothing of its segment was written, else the end.
        """
        if operation.begun or self.channel.awaits(operation):
            if isinstance(error, LocalProtocolError):
                self.connection.close(error)
                self._process()
            else:
                self._break(error)
        else:
            if operation in self._queue:
                self._queue.remove(operation)
            if isinstance(error, Error):
                error.outcome = Outcome.NOT_SENT
            operation.withdraw(self.channel, error)

    def _give_up(self) -> None:
        """GRACE is over."""
        error = self._write_failed
        if error is not None and self.connection.closed is None:
            self.transport_failed(error)
        self._settle()
