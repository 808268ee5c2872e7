"""Commands and their answers: which result comes when.

The states, and the order in which they change, are those of libpq's fe-exec.c and fe-protocol3.c, because
psycopg's generators are written for them.  Answers are parsed one at a time, and only while the command in
turn is BUSY: so what a result changes (the transaction's and the pipeline's status, the error's text)
changes when its turn has come, however many answers have arrived.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from psycopg import errors as e
from psycopg._encodings import pg2pyenc
from psycopg.pq import ConnStatus, ExecStatus, PipelineStatus, TransactionStatus, abc
from psycopg.pq.misc import PGnotify, PGresAttDesc, _clean_error_message

from pgproto.errors import PostgresError, RemoteProtocolError
from pgproto.protocol import NEED_DATA, Closed, DataRows, Skipped
from pgproto.wire import (
    CloseComplete,
    CommandComplete,
    CopyBothResponse,
    CopyInResponse,
    CopyOutResponse,
    EmptyQueryResponse,
    ErrorResponse,
    Message,
    NoData,
    NoticeResponse,
    NotificationResponse,
    ParameterDescription,
    ParameterStatus,
    ParseComplete,
    ReadyForQuery,
    RowDescription,
)

from .reports import report
from .results import PGresult
from .transport import Lost, Transport

__all__ = [
    "BUSY",
    "CLOSE",
    "COPYING",
    "COPY_IN",
    "COPY_OUT",
    "DESCRIBE",
    "EXTENDED",
    "IDLE",
    "PIPELINE_IDLE",
    "PREPARE",
    "SIMPLE",
    "SYNC",
    "Exchange",
]

logger = logging.getLogger("psycopg")

# What the command in turn is doing: libpq's PGAsyncStatusType.
IDLE: Final = 0
BUSY: Final = 1
READY: Final = 2  # its result can be taken
READY_MORE: Final = 3  # the result is a part of its rows
COPY_IN: Final = 4
COPY_OUT: Final = 5
COPY_BOTH: Final = 6
PIPELINE_IDLE: Final = 7  # its last result was taken, and the None after it was not
COPYING: Final = frozenset({COPY_IN, COPY_OUT, COPY_BOTH})

# The kinds of commands: libpq's PGQueryClass.
SIMPLE: Final = 0
EXTENDED: Final = 1
PREPARE: Final = 2
DESCRIBE: Final = 3
SYNC: Final = 4
CLOSE: Final = 5

_XACT: Final = {
    "I": TransactionStatus.IDLE,
    "T": TransactionStatus.INTRANS,
    "E": TransactionStatus.INERROR,
}
_COPY_STATES: Final = {
    CopyInResponse: (COPY_IN, ExecStatus.COPY_IN),
    CopyOutResponse: (COPY_OUT, ExecStatus.COPY_OUT),
    CopyBothResponse: (COPY_BOTH, ExecStatus.COPY_BOTH),
}
_COPY_RESULTS: Final = dict(_COPY_STATES.values())

# In a pipeline, commands wait until so many bytes are queued, or somebody flushes.
_ENOUGH: Final = 65536


class Exchange:
    """The session's commands in turn, and what the server has answered.

    Attributes:
        notice_handler: called with each notice, as a result.
        notify_handler: psycopg's; not called here.
    """

    def __init__(self) -> None:
        self.notice_handler: Callable[[abc.PGresult], None] | None = None
        self.notify_handler: Callable[[PGnotify], None] | None = None
        self._finished = False
        self._status: int = ConnStatus.BAD
        self._transport: Transport | None = None
        self._error = b""
        self._reported = 0  # so much of `_error` was in a result
        self._nonblocking = 0
        self._parameters: dict[bytes, bytes] = {}
        self._notifies: deque[PGnotify] = deque()
        self._start_over()

    def _start_over(self) -> None:
        """Forget the commands: the session is new, or gone."""
        self._state = IDLE
        self._xact = TransactionStatus.IDLE
        self._pipeline: int = PipelineStatus.OFF
        self._commands: deque[tuple[int, bytes | None]] = deque()  # kind, SQL
        self._held: Message | None = None  # an answer whose turn has not come
        self._result: PGresult | None = None
        self._whole: PGresult | None = None  # the result of which `_result` is a part
        self._rows: list[list[bytes | None]] = []  # rows that are not in a result yet, last one first
        self._part = 0  # the number of rows in a part; 0 for all at once
        self._single = False

    # --- errors and encodings

    def _ensure(self) -> Transport | None:
        if self._finished:
            raise e.OperationalError("the connection is closed")
        return self._transport

    def _clear_error(self) -> None:
        self._error = b""
        self._reported = 0

    def _clear_old_error(self) -> None:
        """Clear the error, unless it belongs to a command whose results are owed."""
        if not self._commands:
            self._clear_error()

    def _fail(self, text: str) -> None:
        """Add a line to the error's text."""
        self._error += text.encode() + b"\n"

    @property
    def error_message(self) -> bytes:
        """The text of the last command's error; b"" while all is well."""
        return b"connection pointer is NULL\n" if self._finished else self._error

    def get_error_message(self, encoding: str = "") -> str:
        """The text of the last command's error, without its severity.

        Args:
            encoding: Python's name of the encoding to decode it from; by default the session's.
        """
        return _clean_error_message(self.error_message, encoding or self._encoding)

    @property
    def _encoding(self) -> str:
        if self._status != ConnStatus.OK:
            return "utf-8"
        return pg2pyenc(self._parameters.get(b"client_encoding", b"UTF8"))

    def _report(
        self, message: ErrorResponse | NoticeResponse, *, notice: bool
    ) -> tuple[bytes, dict[str, bytes]]:
        fields = message.raw_fields
        sql = self._commands[0][1] if self._commands else None
        try:
            encoding = self._encoding
        except e.NotSupportedError:
            encoding = "latin-1"
        return report(fields, sql, encoding, notice=notice), fields

    # --- bytes

    def _lose(self, text: str) -> None:
        """The connection is gone."""
        self._error += text.encode()
        self._status = ConnStatus.BAD
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.core.trace = None
            transport.close(politely=False)

    def _flush(self) -> bool:
        """Send what is queued; True if nothing is left.  In blocking mode, wait for that, and read meanwhile.

        Raises:
            Lost: the connection is gone.
        """
        transport = self._transport
        if transport is None:
            return True
        while not transport.flush():
            if self._nonblocking:
                return False
            transport.exchange()
        return True

    def _push(self) -> None:
        """Send what is queued; in a pipeline, only if it is much."""
        transport = self._transport
        if transport is None or (self._pipeline != PipelineStatus.OFF and transport.pending < _ENOUGH):
            return
        try:
            self._flush()
        except Lost as lost:
            self._lose(str(lost))

    def flush(self) -> int:
        """Send what is queued.

        Returns:
            0 if all was sent, 1 if not yet.

        Raises:
            OperationalError: there is no connection.
        """
        if self._finished:
            raise e.OperationalError("flushing failed: the connection is closed")
        if self._status == ConnStatus.BAD:
            raise e.OperationalError(f"flushing failed: {self.get_error_message()}")
        try:
            return int(not self._flush())
        except Lost as lost:
            self._lose(str(lost))
            raise e.OperationalError(f"flushing failed: {self.get_error_message()}") from None

    def consume_input(self) -> None:
        """Read what has arrived.

        Raises:
            OperationalError: nothing has, and nothing will.
        """
        transport = self._transport
        try:
            if transport is None:
                self._fail("connection not open")
                raise Lost
            if self._nonblocking:
                transport.flush()
            transport.read()
        except Lost as lost:
            self._lose(str(lost))
            raise e.OperationalError(f"consuming input failed: {self.get_error_message()}") from None

    # --- answers

    def is_busy(self) -> int:
        """1 if `get_result` would wait."""
        if self._transport is None:
            return 0
        self._parse()
        return int(self._state == BUSY and self._transport is not None)

    def notifies(self) -> PGnotify | None:
        """The oldest notification that was not taken; None if there is none."""
        self._parse()
        return self._notifies.popleft() if self._notifies else None

    def get_result(self) -> PGresult | None:
        """The next result of the command in turn; None after its last one, and if nothing is owed.

        It waits if it must.
        """
        if self._finished:
            return None
        self._parse()
        while self._state == BUSY:
            transport = self._transport
            try:
                if transport is None:
                    raise Lost
                transport.exchange()
                self._parse()
                if transport.write_error and self._state == BUSY:
                    transport.read()
            except Lost as lost:
                self._lose(str(lost))
                self._forget_result()
                self._state = IDLE
                self._commands.clear()
                return self._take_result()
        return self._next()

    def _next(self) -> PGresult | None:
        """What `get_result` returns now that it needs not wait."""
        state = self._state
        if state == IDLE:
            return None
        if state == PIPELINE_IDLE:
            self._process_queue()
            return None
        if state in COPYING:
            if self._result is not None:
                return self._take_result()
            return PGresult(_COPY_RESULTS[state])
        result = self._take_result()
        if state == READY_MORE:
            self._state = BUSY
            return result
        if self._result is not None:
            return result  # the last part; the end of the rows is next
        synced = result.status == ExecStatus.PIPELINE_SYNC
        self._advance(ready=False, synced=synced)
        if self._pipeline == PipelineStatus.OFF:
            self._state = BUSY
        else:
            self._state = PIPELINE_IDLE
            if synced:
                self._process_queue()
        return result

    def _take_result(self) -> PGresult:
        """The result in the making; an error if there is none."""
        result = self._result
        self._result, self._whole = self._whole, None
        if result is not None:
            return result
        text = self._error[self._reported :]
        self._reported = len(self._error)
        return PGresult(ExecStatus.FATAL_ERROR, text)

    def _forget_result(self) -> None:
        self._result = self._whole = None
        self._rows = []

    def _advance(self, *, ready: bool, synced: bool) -> None:
        """The command in turn has ended, if this is how such commands end."""
        if not self._commands:
            return
        kind = self._commands[0][0]
        if (kind == SIMPLE and not ready) or (kind == SYNC and not synced):
            return
        self._commands.popleft()

    def _process_queue(self) -> None:
        """In a pipeline: go on to the next command."""
        if self._state not in (IDLE, PIPELINE_IDLE) or (self._state == IDLE and not self._commands):
            return
        self._part = 0
        if not self._commands:
            self._state = IDLE
            return
        self._forget_result()
        self._clear_error()
        if self._pipeline == PipelineStatus.ABORTED and self._commands[0][0] != SYNC:
            self._result = PGresult(ExecStatus.PIPELINE_ABORTED)
            self._state = READY
        else:
            self._state = BUSY

    def _queue(self, kind: int, sql: bytes | None = None) -> None:
        """A command was written."""
        self._commands.append((kind, sql))
        if self._pipeline == PipelineStatus.ABORTED:
            self._process_queue()
        elif self._state == IDLE:
            self._state = BUSY

    def _parse(self) -> None:
        """Take answers, as long as they belong to the command in turn and its result is not complete."""
        transport = self._transport
        if transport is None:
            return
        core = transport.core
        while self._transport is not None:
            if self._held is not None and self._state not in (BUSY, IDLE):
                return
            if self._rows and self._state == BUSY:
                self._take_part()
                continue
            event, self._held = self._held or core.next_event(), None
            if event is NEED_DATA:
                return
            kind = type(event)
            if kind is Closed:
                self._held = event
                # What the server ends itself is over when its stream is: more of its words may come.
                why = None if core.closed is None else core.closed.error
                if self._state in (BUSY, IDLE) and not isinstance(why, PostgresError):
                    self._lose(f"{why}\n")
                return
            if kind is Skipped or (kind in _AT_ANY_TIME and self._unasked(event)):
                continue
            if self._state == BUSY:
                take = _TAKERS.get(kind)
                if take is not None:
                    take(self, event)
            elif self._state != IDLE:
                self._held = event
                return
            elif isinstance(event, ErrorResponse):
                self._notice(event)

    def _unasked(self, event: Message) -> bool:
        """True if it is a message that may come at any time, which is dealt with."""
        if isinstance(event, NotificationResponse):
            self._notifies.append(PGnotify(event.raw_channel, event.process_id, event.raw_payload))
        elif isinstance(event, NoticeResponse):
            self._notice(event)
        elif isinstance(event, ParameterStatus):
            self._parameters[event.name.encode()] = event.raw_value
        else:
            return False
        return True

    def _notice(self, event: NoticeResponse | ErrorResponse) -> None:
        handler = self.notice_handler
        if handler is None:
            return
        text, fields = self._report(event, notice=True)
        try:
            handler(PGresult(ExecStatus.NONFATAL_ERROR, text, fields))
        except Exception as error:
            logger.exception("error in notice receiver: %s", error)  # noqa: TRY401 - as psycopg does

    @property
    def _kind(self) -> int:
        """The kind of the command in turn."""
        return self._commands[0][0] if self._commands else SIMPLE

    def _command_complete(self, event: CommandComplete) -> None:
        self._complete(ExecStatus.COMMAND_OK).complete(event.command_tag.encode())

    def _empty(self, event: Message) -> None:
        self._complete(ExecStatus.EMPTY_QUERY)

    def _describe_parameters(self, event: ParameterDescription) -> None:
        self._result = PGresult(ExecStatus.COMMAND_OK)
        self._result.describe_parameters(list(event.parameter_types))

    def _begin_copy(self, event: CopyInResponse | CopyOutResponse | CopyBothResponse) -> None:
        self._state, status = _COPY_STATES[type(event)]
        self._result = PGresult(status)
        self._result.describe_copy(event.format, list(event.column_formats))

    def _acknowledged(self, event: Message) -> None:
        """ParseComplete and its like complete a command that is no more than that."""
        if type(event) is _COMPLETES.get(self._kind):
            self._complete(ExecStatus.COMMAND_OK)

    def _complete(self, status: int) -> PGresult:
        """The result is complete; if there was none, it has this status."""
        if self._result is None:
            self._result = PGresult(status)
        self._state = READY
        return self._result

    def _describe(self, event: RowDescription) -> None:
        if self._kind == DESCRIBE:
            result = self._complete(ExecStatus.COMMAND_OK)
        else:
            result = self._result = PGresult(ExecStatus.TUPLES_OK)
        result.describe(
            [
                PGresAttDesc(
                    field.raw_name,
                    field.table_oid,
                    field.column_number,
                    field.format,
                    field.type_oid,
                    field.type_size,
                    field.type_modifier,
                )
                for field in event.fields
            ]
        )

    def _take_rows(self, event: DataRows) -> None:
        try:
            rows = event.values()
        except RemoteProtocolError as error:  # nothing more of this server can be trusted
            self._lose(f"{error}\n")
            return
        if not self._part:
            if self._result is not None:
                self._result.add_rows(rows)
            return
        rows.reverse()
        self._rows = rows

    def _take_part(self) -> None:
        """Move rows into a part of the result."""
        if self._result is None:
            self._rows = []
            return
        if self._whole is None:
            self._whole = self._result
            self._result = self._whole.like(
                ExecStatus.SINGLE_TUPLE if self._single else ExecStatus.TUPLES_CHUNK
            )
        rows = self._rows
        room = self._part - self._result.ntuples
        taken = rows[: -room - 1 : -1]
        del rows[-room:]
        self._result.add_rows(taken)
        if self._result.ntuples == self._part:
            self._state = READY_MORE

    def _ready(self, event: ReadyForQuery) -> None:
        self._xact = _XACT[event.status]
        if self._pipeline != PipelineStatus.OFF:
            self._result = PGresult(ExecStatus.PIPELINE_SYNC, self._error)
            self._pipeline = PipelineStatus.ON
            self._state = READY
        else:
            self._advance(ready=True, synced=False)
            self._state = IDLE

    def _failed(self, event: ErrorResponse) -> None:
        self._forget_result()
        text, fields = self._report(event, notice=False)
        self._error += text
        self._reported = len(self._error)
        self._result = PGresult(ExecStatus.FATAL_ERROR, text, fields)
        self._state = READY
        if self._pipeline != PipelineStatus.OFF:
            self._pipeline = PipelineStatus.ABORTED


_COMPLETES: Final[dict[int, type[Message]]] = {
    PREPARE: ParseComplete,
    CLOSE: CloseComplete,
    DESCRIBE: NoData,
}

_AT_ANY_TIME: Final = frozenset({NotificationResponse, NoticeResponse, ParameterStatus})

_TAKERS: Final[dict[type[Message], Callable[[Exchange, Any], None]]] = {
    DataRows: Exchange._take_rows,
    RowDescription: Exchange._describe,
    CommandComplete: Exchange._command_complete,
    ReadyForQuery: Exchange._ready,
    ErrorResponse: Exchange._failed,
    EmptyQueryResponse: Exchange._empty,
    ParameterDescription: Exchange._describe_parameters,
    **dict.fromkeys((CopyInResponse, CopyOutResponse, CopyBothResponse), Exchange._begin_copy),
    **dict.fromkeys(_COMPLETES.values(), Exchange._acknowledged),
}
