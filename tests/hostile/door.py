"""A server that lets in who knows the password, and what a hostile client gets out of it.

`Door` is `tests.support.backend.Backend` behind the server role's authentication: it answers the requests for
encryption (with no, unless told otherwise), asks for the password, and closes on the first thing that is not
allowed.  What a stranger gets to say, `heard`, and what it was told, `told`, are what the tests look at.
"""

from __future__ import annotations

from pgproto.errors import LocalProtocolError, RemoteProtocolError
from pgproto.protocol import SERVER, Closed, PGConnection
from pgproto.protocol.scram import ScramClient
from pgproto.protocol.server_authentication import ServerAuthenticator
from pgproto.protocol.verifier import ScramVerifier, md5_verifier
from pgproto.wire import (
    AuthenticationOk,
    AuthenticationSASLContinue,
    EncryptionResponse,
    ErrorResponse,
    FrameReader,
    GSSENCRequest,
    Message,
    SASLInitialResponse,
    SASLResponse,
    SSLRequest,
    StartupMessage,
    decode_backend,
    frames,
)
from tests.support.backend import Backend, rows_of

__all__ = ["PASSWORD", "Door", "client_final", "client_first", "startup"]

PASSWORD = "right-c4n4ry"
NONCE = "0123456789abcdef0123"
SECRETS = {
    "scram-sha-256": ScramVerifier.from_password(PASSWORD, b"0123456789abcdef", 256).format(),
    "md5": md5_verifier("app", PASSWORD),
    "password": ScramVerifier.from_password(PASSWORD, b"0123456789abcdef", 256).format(),
}


class Door(Backend):
    """A server's end of one connection.

    Args:
        method: of the `ServerAuthenticator`.
        encryption: its answer to SSLRequest and GSSENCRequest.
        size: the largest message that its `PGConnection` takes.
    """

    def __init__(
        self, method: str = "scram-sha-256", *, encryption: bytes = b"N", size: int = 1 << 20
    ) -> None:
        super().__init__({"select 1": rows_of(1)})
        self.connection = PGConnection(SERVER, max_message_size=size)
        self.method = method
        self.encryption = encryption
        self.inside = False

    def _handle(self, event: Message) -> None:
        if isinstance(event, SSLRequest | GSSENCRequest):
            try:
                self.say(EncryptionResponse(self.encryption))
            except LocalProtocolError as error:  # it has sent more, which would pass for encrypted
                self.connection.close(error)
            return
        if isinstance(event, StartupMessage):
            user = event.parameters.get("user", "")
            if self.method != "trust":
                self.authenticator = ServerAuthenticator(
                    self.method,
                    user=user,
                    secret=SECRETS[self.method] if user == "app" else None,
                    random=bytes(range(18)),
                    mock_secret=b"mock",
                    iterations=256,
                )
        try:
            super()._handle(event)
        except RemoteProtocolError as error:
            self.connection.close(error)

    def _welcome(self) -> None:
        self.inside = True
        super()._welcome()

    @property
    def error(self) -> str:
        """Why the connection is over: the text of the error; "" if it is not."""
        closed = self.connection.next_event()
        return f"{type(closed.error).__name__}: {closed.error}" if isinstance(closed, Closed) else ""

    def told(self) -> list[Message]:
        """What the client was told, as messages; the answers about encryption come first, as bytes."""
        reader = FrameReader()
        data = bytes(self.out)
        start = len(data) - len(data.lstrip(b"NSG"))
        reader.receive_data(data[start:])
        messages: list[Message] = []
        while reader.next_frame(frames.backend_limits()):
            messages.append(decode_backend(reader.tag, reader.buffer, reader.start, reader.end))
        return messages

    def refused(self) -> ErrorResponse | None:
        """The ErrorResponse that the client got, if it got one."""
        return next((each for each in self.told() if isinstance(each, ErrorResponse)), None)

    def let_in(self) -> bool:
        """True if the client was let in."""
        return self.inside or any(isinstance(each, AuthenticationOk) for each in self.told())


def startup(**parameters: str) -> bytes:
    """A good StartupMessage."""
    return StartupMessage({"user": "app", **parameters}).encode()


def client_first(user: str = "app") -> tuple[Door, ScramClient]:
    """A door and a client that has asked to be let in by SCRAM; nothing is sent yet but the start."""
    door = Door()
    door.receive(startup(user=user))
    return door, ScramClient(PASSWORD, NONCE)


def client_final(door: Door, client: ScramClient) -> bytes:
    """The right proof."""
    door.receive(SASLInitialResponse("SCRAM-SHA-256", client.first_message()).encode())
    challenge = door.told()[-1]
    assert isinstance(challenge, AuthenticationSASLContinue)
    client.receive_challenge(challenge.data)
    return SASLResponse(client.final_message()).encode()
