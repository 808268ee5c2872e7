"""How a session of the model server begins: encryption (refused), start-up, authentication, cancel requests.

Manual: "Start-up", "Canceling Requests in Progress"; src/backend/tcop/backend_startup.c.  The postmaster says
who may come in, and only after the StartupMessage, as the real one does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pgproto.errors import RemoteProtocolError
from pgproto.protocol.server_authentication import ServerAuthenticator
from pgproto.wire import (
    PROTOCOL_3_2,
    BackendKeyData,
    CancelRequest,
    EncryptionResponse,
    GSSENCRequest,
    Message,
    NegotiateProtocolVersion,
    PasswordMessage,
    SASLInitialResponse,
    SASLResponse,
    SSLRequest,
    StartupMessage,
)
from tests.sim.postgres_process import Process

__all__ = ["LOGIN", "Login"]

_NOT_SETTINGS: Final = ("user", "database", "options", "replication")


class Login(Process):
    """A session that has not begun yet.

    Attributes:
        user: who it is.
        protocol: the version that was agreed upon.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.user = ""
        self.protocol = 0
        self._authenticator: ServerAuthenticator | None = None

    def _encryption(self, event: Message) -> None:
        self.send(EncryptionResponse(b"N"))
        self.flush()

    def _cancel_request(self, event: CancelRequest) -> None:
        """The process that got it signals, and ends behind that: EOF says that the signal was sent."""
        master = self.master

        def signal() -> None:
            master.cancel_request(event.process_id, event.secret_key)
            if not self.dead:
                self.end_of_process()

        if master.cancel_delay:
            self.world.call_later(master.cancel_delay, signal)
        else:
            signal()

    def _startup(self, event: StartupMessage) -> None:
        master = self.master
        refusal = master.refusal()
        if refusal is not None:
            self.fatal(*refusal)
            return
        master.entered(self)
        self.protocol = min(event.protocol, master.protocol)
        unknown = [name for name in event.parameters if name.startswith("_pq_.")]
        if unknown or self.protocol < event.protocol:
            self.send(NegotiateProtocolVersion(self.protocol, unknown))
        self.user = event.parameters.get("user", "")
        self.start_settings = {
            name.lower(): value
            for name, value in event.parameters.items()
            if name not in _NOT_SETTINGS and not name.startswith("_pq_.")
        }
        self.block.reset(self.start_settings)
        secret = master.secrets.get(self.user)
        self._authenticator = ServerAuthenticator(
            "trust" if secret is None else "scram-sha-256",
            user=self.user,
            secret=secret,
            random=self.world.rng.randbytes(18),
            mock_secret=b"mock",
            iterations=1,
        )
        self.send(self._authenticator.start())
        if self._authenticator.authenticated:
            self._welcome()
        else:
            self.flush()

    def _password(self, event: Message) -> None:
        authenticator = self._authenticator
        if authenticator is None:
            return
        try:
            answers = authenticator.receive(event)
        except RemoteProtocolError as error:
            self.complaint = str(error)
            self.fatal("08P01", str(error))
            return
        if authenticator.failed:
            self.fatal("28P01", f'password authentication failed for user "{self.user}"')
            return
        for message in answers:
            self.send(message)
        if authenticator.authenticated:
            self._welcome()
        else:
            self.flush()

    def _welcome(self) -> None:
        self.report()
        self.key = self.world.rng.randbytes(32 if self.protocol >= PROTOCOL_3_2 else 4)
        self.send(BackendKeyData(self.pid, self.key))
        self.ready()


LOGIN: Final[dict[type[Message], Callable[[Any, Any], None]]] = {
    SSLRequest: Login._encryption,
    GSSENCRequest: Login._encryption,
    CancelRequest: Login._cancel_request,
    StartupMessage: Login._startup,
    PasswordMessage: Login._password,
    SASLInitialResponse: Login._password,
    SASLResponse: Login._password,
}
