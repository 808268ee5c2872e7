"""Starting a session: encryption, start-up message, authentication; and the cancel request.

Manual: "Start-up", "SSL Session Encryption", "Canceling Requests in Progress".  A cancel request is encrypted
in the same way as its session: the key of an encrypted session must not be sent in clear (as pgx did until
5.10).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..config.options import is_utf8
from ..errors import (
    ConnectError,
    Error,
    LocalProtocolError,
    Outcome,
    QueryTimeout,
    RemoteProtocolError,
)
from ..protocol import Authenticator, Secure
from ..wire import (
    PROTOCOL_3_2,
    BackendKeyData,
    CancelRequest,
    ErrorResponse,
    Message,
    ReadyForQuery,
    SSLRequest,
    StartupMessage,
    tags,
)
from .channel import Channel
from .loss import Loss
from .operation import WAITING, Operation
from .segment import Segment

if TYPE_CHECKING:
    from ..protocol.tls import TLS

__all__ = [
    "ENCRYPT_DIRECT",
    "ENCRYPT_NEVER",
    "ENCRYPT_REQUIRE",
    "ENCRYPT_TRY",
    "Cancel",
    "Startup",
    "check_parameter",
]

ENCRYPT_NEVER: Final = 0
ENCRYPT_TRY: Final = 1  # ask; go on in clear if the server refuses
ENCRYPT_REQUIRE: Final = 2  # ask; end if the server refuses
ENCRYPT_DIRECT: Final = 3  # begin with the TLS handshake (PostgreSQL 17 and later)

# SCRAM with more rounds than this is computed in a thread, not in the event loop: 100,000 take about 30 ms.
# PostgreSQL's default is 4,096.
_QUICK_ITERATIONS: Final = 100_000


def check_parameter(name: str, value: str, asked: str = "UTF8") -> None:
    """Refuse a client_encoding that was not asked for, because texts would be misread.

    Args:
        name: the parameter that the server reports.
        value: its value.
        asked: the client_encoding of the StartupMessage; if it is not UTF-8, nothing is checked.

    Raises:
        RemoteProtocolError: UTF-8 was asked for, and the server uses another encoding.
    """
    if name == "client_encoding" and is_utf8(asked) and not is_utf8(value):
        raise RemoteProtocolError(
            f"the server insists on client_encoding {value}, and pgproto on UTF8: do not SET another "
            "one, nor ALTER ROLE or DATABASE to set it"
        )


class _Opening(Operation):
    """Encryption, and then the first message of a connection."""

    __slots__ = ("_asked", "_encryption", "_first", "_make_tls", "opened")

    def __init__(self, first: Message, encryption: int, make_tls: Callable[[], TLS] | None) -> None:
        super().__init__()
        self._first = first  # StartupMessage or CancelRequest
        self._encryption = encryption
        self._make_tls = make_tls
        self._asked = False
        self.opened = False  # the first message was written

    def produce(self, channel: Channel) -> int:
        """Write SSLRequest, or begin TLS, or write the first message."""
        if self._asked:
            return WAITING
        self._asked = True
        self.begun = True
        if self._encryption == ENCRYPT_NEVER:
            self._open(channel)
        elif self._encryption == ENCRYPT_DIRECT:
            self._secure(channel)
        else:
            channel.write(SSLRequest())
        return WAITING

    def handle_start(self, channel: Channel, event: Message) -> None:
        """Take the answer about encryption: Secure, or EncryptionResponse for a refusal."""
        if isinstance(event, Secure):
            self._secure(channel)
        elif self._encryption == ENCRYPT_REQUIRE:
            self.error = ConnectError("the server does not support TLS, but TLS was required", permanent=True)
            channel.connection.close(self.error)
        else:
            self._open(channel)

    def _secure(self, channel: Channel) -> None:
        try:
            if self._make_tls is None:
                raise LocalProtocolError("TLS was asked for, but not set up")
            channel.tls = self._make_tls()
        except Error as error:
            self.error = error
            channel.connection.close(error)
            return
        channel.connection.secured()
        self._open(channel)

    def _open(self, channel: Channel) -> None:
        self.opened = True
        try:
            channel.write(self._first)
        except Error as error:
            self.error = error
            channel.connection.close(error)


class Startup(_Opening):
    """Start a session and authenticate.

    Args:
        parameters: of the StartupMessage (user, database, client_encoding, ...).  With a client_encoding
            other than UTF-8, give SQL as bytes and read results raw: nothing is converted.
        authenticate: makes the Authenticator.  Its arguments: whether the stream is encrypted, and the data
            for channel binding (None if there are none).
        encryption: one of the ENCRYPT_ constants.
        make_tls: makes the TLS layer, for all but ENCRYPT_NEVER.
        protocol: the newest protocol version to ask for.
    """

    __slots__ = ("_answer", "_authenticate", "_authenticator", "answered")

    def __init__(
        self,
        parameters: dict[str, str],
        authenticate: Callable[[bool, bytes | None], Authenticator],
        *,
        encryption: int = ENCRYPT_NEVER,
        make_tls: Callable[[], TLS] | None = None,
        protocol: int = PROTOCOL_3_2,
    ) -> None:
        super().__init__(StartupMessage(parameters, protocol), encryption, make_tls)
        self._authenticate = authenticate
        self._authenticator: Authenticator | None = None
        self._answer: Message | None = None
        self.answered = False  # the server has understood the StartupMessage

    @property
    def password_asked(self) -> bool:
        """True if the server has asked for a password, whether one was given or not."""
        return self._authenticator is not None and self._authenticator.password_asked

    def handle_start(self, channel: Channel, event: Message) -> None:
        """Encryption, then authentication, then ReadyForQuery."""
        if not self.opened:
            super().handle_start(channel, event)
            return
        if isinstance(event, ErrorResponse):
            self.error = self.error or event.error
            return
        self.answered = True
        if event.tag == tags.AUTHENTICATION:
            self._respond(channel, event)
        elif isinstance(event, ReadyForQuery):
            encoding = channel.connection.parameters.get("client_encoding", "UTF8")
            check_parameter("client_encoding", encoding, channel.connection.asked_encoding)
            self.finish(channel)

    def _respond(self, channel: Channel, event: Message) -> None:
        try:
            authenticator = self._authenticator
            if authenticator is None:
                tls = channel.tls
                binding = tls.channel_binding() if tls is not None else None
                authenticator = self._authenticator = self._authenticate(tls is not None, binding)
            authenticator.receive(event)
        except Error as error:
            self.error = error
            channel.connection.close(error)
            return
        if authenticator.pending_iterations > _QUICK_ITERATIONS:
            self.work = lambda: self._reply(authenticator)
            self.progress(channel)
        else:
            self._reply(authenticator)
            self._write_reply(channel)

    def _reply(self, authenticator: Authenticator) -> None:
        """Compute the answer, perhaps in a thread: it uses nothing that events change meanwhile."""
        try:
            self._answer = authenticator.reply()
        except Error as error:
            self.error = error

    def produce(self, channel: Channel) -> int:
        """Write the first messages, or the answer that was computed in a thread."""
        if self.work is None:
            self._write_reply(channel)
        return super().produce(channel)

    def _write_reply(self, channel: Channel) -> None:
        answer = self._answer
        self._answer = None
        if isinstance(self.error, Exception):
            channel.connection.close(self.error)
        elif answer is not None:
            channel.write(answer)

    def lost(self, channel: Channel, segment: Segment | None, loss: Loss) -> None:
        """The connection ended before the session was ready."""
        cause = loss.cause
        if self.error is None:
            self.error = cause if isinstance(cause, Error) else ConnectError("the connection was closed")
        if isinstance(cause, QueryTimeout):
            self.error = ConnectError(str(cause))
            self.error.__cause__ = cause
        self.finish(channel)


class Cancel(_Opening):
    """Ask the server to cancel the statement that another session is running.

    It succeeds when the server closes the connection, which happens after the request was processed.
    """

    __slots__ = ()

    def __init__(
        self,
        key: BackendKeyData,
        *,
        encryption: int = ENCRYPT_NEVER,
        make_tls: Callable[[], TLS] | None = None,
    ) -> None:
        super().__init__(CancelRequest(key.process_id, key.secret_key), encryption, make_tls)

    def lost(self, channel: Channel, segment: Segment | None, loss: Loss) -> None:
        """EOF: the server has processed the request, if it was sent."""
        if self.error is None and loss.cause is not None:
            self.error = loss.error(Outcome.UNKNOWN if self.opened else Outcome.NOT_SENT)
        self.finish(channel)
