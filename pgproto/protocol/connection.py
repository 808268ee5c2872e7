"""A PostgreSQL session without I/O: bytes in, events out, for either role.

    connection = PGConnection(CLIENT)
    data = connection.send(Query("select 1"))     # bytes for the peer
    connection.receive_data(data_from_the_peer)   # b"" means EOF
    event = connection.next_event()               # a message, an event, or NEED_DATA

Rule 1: the tables in `states` say what is legal; this file moves bytes and messages through them.
Rule 2: the session ends by `_end`, whatever the reason, and only once: see `ending`.
Rule 3: receiving never raises.  A mistake of the peer ends the session and is in the `Closed` event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

from ..errors import ConnectionClosed, ConnectionLost, LocalProtocolError, RemoteProtocolError
from ..wire import (
    PROTOCOL_3_0,
    PROTOCOL_3_2,
    BackendKeyData,
    BindComplete,
    Close,
    CommandComplete,
    CopyInResponse,
    CopyOutResponse,
    DataRow,
    Describe,
    EncryptionResponse,
    ErrorResponse,
    Execute,
    Flush,
    FrameReader,
    GSSENCRequest,
    Message,
    NegotiateProtocolVersion,
    NoticeResponse,
    ParameterStatus,
    ReadyForQuery,
    SSLRequest,
    StartupMessage,
    Sync,
    Terminate,
    decode_backend,
    decode_frontend,
    decode_password,
    decode_startup,
    frames,
    tags,
)
from ..wire.binding import Executes
from . import states
from .ending import Ending
from .events import NEED_DATA, Closed, CommandCompletes, DataRows, Frames, Secure, Skipped
from .inflight import InFlight

__all__ = ["CLIENT", "SERVER", "PGConnection"]

# A server reports some 40 parameters; a peer that sends thousands is no PostgreSQL server.
_MAX_PARAMETERS: Final = 1000
_MAX_PARAMETER_BYTES: Final = 1 << 20

CLIENT: Final = 0
"""The role that sends requests."""
SERVER: Final = 1
"""The role that answers them."""

# Some type bytes mean one message from a client and another from a server.  These a role must never send.
_FOREIGN: Final[dict[int, frozenset[type[Message]]]] = {
    CLIENT: frozenset(
        {CommandComplete, DataRow, DataRows, ErrorResponse, ParameterStatus, CopyOutResponse, Frames}
    ),
    SERVER: frozenset({Close, Describe, Execute, Executes, Flush, Frames, Sync}),
}

_PASSWORD_KINDS: Final[dict[int, int]] = {
    states.PASSWORD: tags.PASSWORD_KIND,
    states.SASL: tags.SASL_INITIAL_KIND,
    states.SASL_CONTINUE: tags.SASL_RESPONSE_KIND,
    states.GSS: tags.GSS_KIND,
}


Trace: TypeAlias = Callable[[str, bytes, bool], None]


class PGConnection:
    """One session, seen from the client or from the server.

    Args:
        role: CLIENT or SERVER.
        max_message_size: the largest message body that is accepted, in bytes (default 1 GiB - 2).
        raw: return messages undecoded (`Frames`) once the session is ready, unless their content changes
            its state: for a proxy, which forwards them byte for byte.

    Attributes:
        closed: the Closed event, once the session is over; None before that.
        asked_encoding: the client_encoding of the StartupMessage.  If it has none: UTF8, or what was set here
            before, "" for whatever encoding the server has.
        trace: a function that is called with each message sent or received, or with a run of them, with the
            arguments of `pgproto.wire.trace_bytes`: the sender ("F" or "B"), the bytes, and whether it is a
            start-up packet without a type byte.  The bytes may contain secrets; `trace_bytes` shows none.
            None (the default) for no trace.  A function that raises is removed.
        trace_error: the exception of the last function that was removed.
    """

    __slots__ = (
        "_ending",
        "_events",
        "_foreign",
        "_in_flight",
        "_limits",
        "_max_message_size",
        "_parameter_bytes",
        "_phase",
        "_raw",
        "_reader",
        "_requested",
        "asked_encoding",
        "backend_key",
        "closed",
        "encrypted",
        "parameters",
        "protocol",
        "role",
        "trace",
        "trace_error",
        "transaction_status",
    )

    def __init__(
        self, role: int, *, max_message_size: int = frames.DEFAULT_MAX_MESSAGE_SIZE, raw: bool = False
    ) -> None:
        self.role = role
        self._phase = states.START
        self._reader = FrameReader()
        self._events: deque[Message] = deque()
        self._in_flight = InFlight()
        self._ending = Ending()
        self.closed: Closed | None = None
        self.encrypted = False
        self.trace: Trace | None = None
        self.trace_error: Exception | None = None
        self.protocol = PROTOCOL_3_0
        self.asked_encoding = "UTF8"
        self.parameters: dict[str, str] = {}
        self.backend_key: BackendKeyData | None = None
        self.transaction_status = ""
        self._max_message_size = max_message_size
        self._limits = frames.BACKEND_STARTUP if role == CLIENT else frames.FRONTEND_STARTUP
        self._foreign = _FOREIGN[role]
        self._raw = raw
        self._requested = b""
        self._parameter_bytes = 0

    def __repr__(self) -> str:
        role = "CLIENT" if self.role == CLIENT else "SERVER"
        text = f"<PGConnection {role} {states.PHASE_NAMES[self._phase]}"
        if self._phase == states.READY:
            text += f" {states.HEAD_NAMES[self._in_flight.state]}, {len(self._in_flight)} in flight"
        return text + ">"

    @property
    def phase(self) -> int:
        """The session's phase: one of those in `states`, START to CLOSED."""
        return self._phase

    @property
    def head_state(self) -> int:
        """How far the answer to the oldest request has come: one of the head states in `states`."""
        return self._in_flight.state

    @property
    def head(self) -> Message | None:
        """The oldest request in flight, to which the next answer belongs."""
        return self._in_flight.head

    @property
    def in_flight(self) -> int:
        """How many requests are in flight."""
        return len(self._in_flight)

    @property
    def unread(self) -> int:
        """The number of received bytes that have not become events yet."""
        return self._reader.pending

    def _end(self, error: Exception | None) -> None:
        """End the session, whatever the reason."""
        alive = self.closed is None
        self.closed = self._ending.end(self.closed, error, self._in_flight)
        if alive:
            self._phase = states.CLOSED
            rest = self._reader.take_rest()
            if rest:
                self._search(rest)

    def _search(self, data: bytes) -> None:
        """Look for further errors of the server in bytes received after the end."""
        if self.role == CLIENT and self.closed is not None:
            self._ending.search(self.closed, self._reader, data)

    # ---- Sending

    def send(self, message: Message) -> bytes:
        """Encode `message` and move the session's state on.

        Returns:
            The bytes for the peer.  b"" for the data, CopyDone or CopyFail of a COPY IN that the server has
            already failed, because it would discard them (see `copy_refused`).

        Raises:
            LocalProtocolError: the message is not legal now, or does not fit the protocol.  Nothing has
                changed.
            ConnectionClosed: the session is over.
        """
        if self.closed is not None:
            raise ConnectionClosed(f"cannot send {type(message).__name__}: the connection is closed")
        if type(message) in self._foreign and not self._is_ours(message):
            raise self._not_now(message)
        data = message.encode()
        if self._in_flight.copy_refused and states.IS_COPY[message.type_byte] and self.role == CLIENT:
            self._in_flight.copy_refused = message.type_byte == tags.COPY_DATA
            return b""
        if self.role == CLIENT:
            self._send_frontend(message)
        else:
            self._send_backend(message)
        if self.trace is not None:
            self._show("F" if self.role == CLIENT else "B", data, message.type_byte == tags.NO_TAG)
        return data

    def _show(self, sender: str, data: bytes, startup: bool) -> None:
        """Call the trace; an exception of it is kept and does not disturb the session."""
        trace = self.trace
        if trace is not None:
            try:
                trace(sender, data, startup)
            except Exception as error:  # noqa: BLE001 - kept in trace_error
                self.trace = None
                self.trace_error = error

    def _show_frames(self, start: int) -> None:
        """Call the trace with the bytes of the reader's buffer from `start` to the current frame's end."""
        reader = self._reader
        if start < reader.end:
            self._show("B" if self.role == CLIENT else "F", reader.buffer[start : reader.end], False)

    def _is_ours(self, message: Message) -> bool:
        return isinstance(message, Frames) and message.sender == ("F" if self.role == CLIENT else "B")

    @property
    def copy_refused(self) -> bool:
        """True while the data of a COPY IN would be discarded, because the server has failed the COPY.

        It lasts until CopyDone, CopyFail or another request is sent.  Manual: "COPY Operations" (the backend
        discards CopyData that the frontend had already sent).
        """
        return self._in_flight.copy_refused

    def secured(self) -> None:
        """Note that the byte stream is encrypted from now on: after `Secure`, or at the start of direct TLS.

        Raises:
            LocalProtocolError: encryption was not agreed on, or unencrypted bytes are in the buffer.
        """
        if self._phase not in (states.SECURING, states.START) or self.encrypted or self._reader.pending:
            raise LocalProtocolError("TLS cannot begin here")
        self.encrypted = True
        self._phase = states.START

    def close(self, error: Exception | None = None) -> None:
        """End the session on this side without sending anything.  Idempotent.

        Args:
            error: the reason, for `Closed.error`; None for a normal close.
        """
        self._end(error)

    def _send_frontend(self, message: Message) -> None:
        if self._phase != states.READY:
            self._walk(states.FRONTEND_PHASES, message)
            return
        tag = message.type_byte
        flight = self._in_flight
        copying = states.IS_COPY_IN[flight.state]
        if states.FIRST[tag] != states.NEVER and not copying:
            if not flight.add(message):  # the server discards until Sync: this request gets no answer
                self._skip(message, None)
        elif isinstance(message, Terminate):
            self._end(None)
        elif copying or states.IS_COPY[tag]:
            if not flight.copy_message(tag):
                raise self._not_now(message)
        elif tag != tags.FLUSH:
            raise self._not_now(message)

    def _walk(self, table: dict[int, dict[type[Message], int]], message: Message) -> None:
        """Move to the next phase for a message that this side sends."""
        after = table.get(self._phase, {}).get(type(message), -1)
        if after < 0:
            if isinstance(message, Terminate) and self.role == CLIENT and self._phase in states.MAY_TERMINATE:
                self._end(None)
                return
            raise self._not_now(message)
        if isinstance(message, (SSLRequest, GSSENCRequest)):
            self._request_encryption(message)
        elif isinstance(message, StartupMessage):
            self.protocol = message.protocol
            self.asked_encoding = message.parameters.get("client_encoding", self.asked_encoding)
        elif isinstance(message, ReadyForQuery):
            self._begin_queries(message)
        self._phase = after

    def _request_encryption(self, message: Message) -> None:
        """SSLRequest and GSSENCRequest are legal once each, and not after encryption has begun."""
        answer = b"S" if isinstance(message, SSLRequest) else b"G"
        if self.encrypted or answer in self._requested:
            raise self._not_now(message)
        self._requested += answer

    def _send_backend(self, message: Message) -> None:
        tag = message.type_byte
        if isinstance(message, EncryptionResponse):
            self._answer_encryption(message)
        elif isinstance(message, ErrorResponse):
            self._send_error(message)
        elif states.IS_ASYNCHRONOUS[tag]:
            if self._phase < states.STARTUP:
                raise self._not_now(message)
        elif self._phase != states.READY:
            self._walk(states.BACKEND_PHASES, message)
        else:
            after = self._in_flight.after(tag)
            if after == states.NEVER:
                raise self._not_now(message)
            self._in_flight.advance(after)
            if isinstance(message, ReadyForQuery):
                self.transaction_status = message.status
            elif isinstance(message, CopyInResponse):
                self._in_flight.begin_copy_in()

    def _answer_encryption(self, message: EncryptionResponse) -> None:
        if self._phase != states.ENCRYPTION:
            raise self._not_now(message)
        refused = message.code == b"N"
        if not refused and message.code != self._requested[-1:]:
            raise LocalProtocolError(f"the client did not ask for encryption of kind {message.code!r}")
        if not refused and self._reader.pending:
            # CVE-2021-23214: these unencrypted bytes would be taken for decrypted ones.
            raise LocalProtocolError("the client sent bytes after its request for encryption")
        self._phase = states.START if refused else states.SECURING

    def _send_error(self, message: ErrorResponse) -> None:
        error = message.error
        if self._phase != states.READY or error.fatal:
            self._end(error)
        elif self._in_flight.fail() is None:
            raise self._not_now(message)

    def _not_now(self, message: Message) -> LocalProtocolError:
        where = states.PHASE_NAMES[self._phase]
        if self._phase == states.READY:
            where = states.HEAD_NAMES[self._in_flight.state]
        return LocalProtocolError(f"cannot send {type(message).__name__} in state {where}")

    # ---- Receiving

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer; b"" means that it has closed its side.

        Never raises; `next_event` returns what they mean.
        """
        if not data:
            self._receive_eof()
        elif self.closed is None:
            self._reader.receive_data(data)
        else:
            self._search(data)

    def _receive_eof(self) -> None:
        before: list[Message] = []
        event = self.next_event()
        while event is not NEED_DATA and event is not self.closed:
            before.append(event)  # messages that arrived before EOF are still valid
            event = self.next_event()
        self._events.extend(before)
        if self._phase == states.CLOSED:
            return
        if self._phase == states.CANCELLING and not self._reader.pending:
            self._end(None)
            return
        peer = "server" if self.role == CLIENT else "client"
        text = f"the {peer} closed the connection unexpectedly"
        if self._reader.pending:
            text += f", {self._reader.pending} bytes into a message"
        self._end(ConnectionLost(text))

    def next_event(self) -> Message:
        """The next event; NEED_DATA if more bytes are needed; Closed, repeatedly, after the end."""
        while True:
            if self._events:
                return self._events.popleft()
            if self.closed is not None:
                return self.closed
            try:
                event = self._next_frontend() if self.role == SERVER else self._next_backend()
            except RemoteProtocolError as error:
                self._end(error)
                continue
            if event is not None:
                return event

    def _next_backend(self) -> Message | None:
        """Client role: read one message of the server; None if it is no event of its own."""
        if self._phase != states.READY:
            return self._next_startup_answer()
        reader = self._reader
        if not reader.next_frame(self._limits):
            return NEED_DATA
        if self.trace is not None:
            self._show_frames(reader.start - 5)
        tag = reader.tag
        flight = self._in_flight
        after = flight.after(tag)
        if after == states.NEVER:
            return self._next_other(tag)
        request = flight.head
        if tag == tags.DATA_ROW:
            flight.advance(after)
            start = reader.start - 5
            first = reader.end
            count = reader.skip_run(self._limits)
            if self.trace is not None:
                self._show_frames(first)
            rows = DataRows(reader.buffer, start, reader.end, count)
            rows.request = request
            return rows
        if self._raw and not flight.executions and not states.IS_DECODED_ANSWER[tag]:
            flight.advance(after)
            return self._frames("B", request)
        # Decode before the state moves: an answer that cannot be read has answered nothing.
        event = decode_backend(tag, reader.buffer, reader.start, reader.end)
        if flight.executions:
            if tag == tags.BIND_COMPLETE:
                flight.advance(after)
                return None  # CommandCompletes includes it
            if isinstance(event, CommandComplete):
                event = self._completes(event)
        event.request = request
        flight.advance(after)
        if isinstance(event, ReadyForQuery):
            self.transaction_status = event.status
            self._ending.hint = None
        elif isinstance(event, CopyInResponse) and not flight.begin_copy_in():
            self._end(LocalProtocolError("COPY FROM STDIN was started with other requests queued after it"))
        return event

    def _frames(self, sender: str, request: Message | None) -> Frames:
        """The current message undecoded, and all CopyData messages after it if it is one."""
        reader = self._reader
        start, first = reader.start - 5, reader.end
        count = reader.skip_run(self._limits) if reader.tag == tags.COPY_DATA else 1
        if self.trace is not None:
            self._show_frames(first)
        event = Frames(sender, reader.tag, reader.buffer[start : reader.end], count)
        event.request = request
        return event

    def _completes(self, event: CommandComplete) -> CommandCompletes:
        """The end of one execution of a run, and of the executions after it with the same command tag."""
        first = self._reader.end
        repeats = self._reader.skip_repeats(BindComplete.encoded, self._in_flight.executions - 1)
        if self.trace is not None:
            self._show_frames(first)
        self._in_flight.executions -= repeats
        return CommandCompletes(event.command_tag, 1 + repeats)

    def _next_other(self, tag: int) -> Message | None:
        """A message that is no regular answer: an asynchronous one, an error, or a protocol violation."""
        reader = self._reader
        if states.IS_ASYNCHRONOUS[tag]:
            event = self._asynchronous(decode_backend(tag, reader.buffer, reader.start, reader.end))
            return self._frames("B", None) if self._raw else event
        if tag == tags.ERROR_RESPONSE:
            return self._error(decode_backend(tag, reader.buffer, reader.start, reader.end))
        raise self._unexpected(tag)

    def _next_encryption_answer(self) -> Message | None:
        """The answer to SSLRequest or GSSENCRequest: exactly one byte (CVE-2021-23222)."""
        code = self._reader.next_byte()
        if code < 0:
            return NEED_DATA
        self._show("B", bytes((code,)), True)
        if code == tags.ERROR_RESPONSE:
            # A server before 7.0, or an attacker who wants a text shown to the user.  The peer is not
            # authenticated, so the text is not read (CVE-2024-10977).
            raise RemoteProtocolError("the server answered the request for encryption with an error")
        if code == ord("N"):
            self._phase = states.START
            return EncryptionResponse(b"N")
        if code not in self._requested[-1:]:
            raise RemoteProtocolError(f"the server answered the request for encryption with byte {code:#04x}")
        if self._reader.pending:
            raise RemoteProtocolError("the server sent bytes after its answer to SSLRequest")
        self._phase = states.SECURING
        return Secure()

    def _next_startup_answer(self) -> Message | None:
        """A message, or the byte that answers a request for encryption, before the session is ready."""
        reader = self._reader
        if self._phase == states.ENCRYPTION:
            return self._next_encryption_answer()
        if self._phase == states.SECURING:
            if reader.pending:
                raise RemoteProtocolError("the server sent bytes between its 'S' and the TLS handshake")
            return NEED_DATA
        if not reader.next_frame(self._limits):
            return NEED_DATA
        if self.trace is not None:
            self._show_frames(reader.start - 5)
        return self._startup_answer(reader.tag)

    def _startup_answer(self, tag: int) -> Message | None:
        """The current message, which came before the session is ready."""
        reader = self._reader
        if self._phase < states.STARTUP:
            raise self._unexpected(tag)
        message = decode_backend(tag, reader.buffer, reader.start, reader.end)
        if isinstance(message, ErrorResponse):
            self._events.append(message)
            self._end(message.error)
            return None
        if states.IS_ASYNCHRONOUS[tag]:
            return self._asynchronous(message)
        after = states.BACKEND_PHASES.get(self._phase, {}).get(type(message), -1)
        if after < 0:
            raise self._unexpected(tag)
        if isinstance(message, NegotiateProtocolVersion):
            self._negotiate(message)
        elif isinstance(message, BackendKeyData):
            self._keep_key(message)
        elif isinstance(message, ReadyForQuery):
            self._begin_queries(message)
        self._phase = after
        return message

    def _negotiate(self, message: NegotiateProtocolVersion) -> None:
        """Take the newest version that the server supports (manual: NegotiateProtocolVersion)."""
        if not PROTOCOL_3_0 <= message.protocol <= self.protocol or message.protocol >> 16 != 3:
            raise RemoteProtocolError(f"the server negotiated protocol {tags.version(message.protocol)}")
        self.protocol = message.protocol

    def _keep_key(self, message: BackendKeyData) -> None:
        length = len(message.secret_key)
        if length != 4 and self.protocol < PROTOCOL_3_2:
            raise RemoteProtocolError(
                f"the server sent a cancel key of {length} bytes in protocol {tags.version(self.protocol)}"
            )
        self.backend_key = message

    def _begin_queries(self, message: ReadyForQuery) -> None:
        self.transaction_status = message.status
        make = frames.backend_limits if self.role == CLIENT else frames.frontend_limits
        self._limits = make(self._max_message_size)

    def _asynchronous(self, message: Message) -> Message:
        if isinstance(message, ParameterStatus):
            known = self.parameters
            if message.name in known or len(known) < _MAX_PARAMETERS:
                known[message.name] = message.value
            self._parameter_bytes += len(message.name) + len(message.value)
            if self._parameter_bytes > _MAX_PARAMETER_BYTES:  # the sum still includes replaced values
                self._parameter_bytes = sum(len(name) + len(value) for name, value in known.items())
                if self._parameter_bytes > _MAX_PARAMETER_BYTES:
                    raise RemoteProtocolError("the server's parameters exceed 1 MiB")
        elif isinstance(message, NoticeResponse) and message.fields.get("C") in ("57P01", "57P02"):
            # An immediate shutdown, a crash, and a commit that no standby has confirmed are announced by
            # a WARNING before the EOF: the warning is the first cause.
            self._ending.hint = message
        return message

    def _error(self, message: Message) -> Message | None:
        assert isinstance(message, ErrorResponse)  # it has its tag
        message.binding = self._in_flight.state == states.BIND
        error = message.error
        message.request = self._in_flight.head
        if error.fatal:
            self._events.append(message)
            self._end(error)
            return None
        skipped = self._in_flight.fail()
        if skipped is None:
            # Old poolers (pgbouncer before 1.16) announce the end by an ERROR that answers no request.
            self._events.append(message)
            self._end(error)
            return None
        self._ending.hint = message
        self._events.append(message)
        for request in skipped:
            self._skip(request, message)
        return None

    def _skip(self, request: Message, cause: Message | None) -> None:
        event = Skipped(cause if isinstance(cause, ErrorResponse) else None)
        event.request = request
        self._events.append(event)

    def _unexpected(self, tag: int) -> RemoteProtocolError:
        where = states.PHASE_NAMES[self._phase]
        if self._phase == states.READY:
            where = states.HEAD_NAMES[self._in_flight.state]
        names = tags.BACKEND_NAMES if self.role == CLIENT else tags.FRONTEND_NAMES
        name = names.get(tag, f"message type {tag:#04x}")
        return RemoteProtocolError(f"unexpected {name} in state {where}")

    def _next_frontend(self) -> Message | None:
        """Server role: read one message of the client; None if it is no event."""
        reader = self._reader
        phase = self._phase
        if phase == states.START:
            if not reader.next_startup(frames.MAX_STARTUP_SIZE):
                return NEED_DATA
            self._show("F", reader.buffer[reader.start - 4 : reader.end], True)
            message = decode_startup(reader.buffer, reader.start, reader.end)
            return self._walk_received(message)
        if phase in (states.ENCRYPTION, states.SECURING):
            if reader.pending:
                raise RemoteProtocolError("the client sent bytes after its request for encryption")
            return NEED_DATA
        if not reader.next_frame(self._limits):
            return NEED_DATA
        if self.trace is not None:
            self._show_frames(reader.start - 5)
        tag = reader.tag
        if tag == tags.PASSWORD_MESSAGE and phase in _PASSWORD_KINDS:
            kind = _PASSWORD_KINDS[phase]
            return self._walk_received(decode_password(kind, reader.buffer, reader.start, reader.end))
        if phase != states.READY and tag != tags.TERMINATE:
            raise self._unexpected(tag)
        if self._raw and states.IS_RAW_REQUEST[tag]:
            return self._received_request(self._frames("F", None))
        message = decode_frontend(tag, reader.buffer, reader.start, reader.end)
        if tag == tags.TERMINATE:
            self._events.append(message)
            self._end(None)
            return None
        return self._received_request(message)

    def _walk_received(self, message: Message) -> Message:
        after = states.FRONTEND_PHASES[self._phase][type(message)]
        if isinstance(message, (SSLRequest, GSSENCRequest)):
            try:
                self._request_encryption(message)
            except LocalProtocolError:
                raise RemoteProtocolError(f"a second {type(message).__name__}") from None
        elif isinstance(message, StartupMessage):
            self.protocol = message.protocol
            self.asked_encoding = message.parameters.get("client_encoding", "UTF8")
        self._phase = after
        return message

    def _received_request(self, message: Message) -> Message | None:
        tag = message.type_byte
        flight = self._in_flight
        if states.IS_COPY[tag]:
            # Dropped outside of COPY: the client may not know yet that its COPY has failed.
            return message if flight.copy_message(tag) else None
        if tag == tags.FLUSH:
            return None if states.IS_COPY_IN[flight.state] else message
        if states.IS_COPY_IN[flight.state]:
            if tag == tags.SYNC:
                return None
            raise self._unexpected(tag)
        return message if flight.add(message) else None
