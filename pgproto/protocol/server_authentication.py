"""The server's side of authentication: the requests to a client, and the check of its answers.

For servers, proxies and test doubles.  The rule: for a user who does not exist, or has no secret for the
method, the exchange looks the same as for any other user and ends as with a wrong password (PostgreSQL's
"mock authentication").

Contract: no I/O, no randomness; the random bytes are an argument.  Any error is final.
"""

from __future__ import annotations

import hmac
from typing import Final

from ..errors import ConfigError, LocalProtocolError, RemoteProtocolError
from ..wire import (
    AuthenticationCleartextPassword,
    AuthenticationMD5Password,
    AuthenticationOk,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
    ErrorResponse,
    Message,
    PasswordMessage,
    SASLInitialResponse,
    SASLResponse,
)
from .scram import SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramServer, check_binding
from .verifier import ScramVerifier, mac, md5_answer, md5_verifier, to_base64

__all__ = ["SERVER_METHODS", "ServerAuthenticator"]

SERVER_METHODS: Final = ("trust", "password", "md5", "scram-sha-256", "scram-sha-256-plus")
"""The methods that a `ServerAuthenticator` knows, as in pg_hba.conf."""

_NONCE_BYTES: Final = 18

_START: Final = 0
_PASSWORD_DUE: Final = 1
_MD5_DUE: Final = 2
_FIRST_DUE: Final = 3
_FINAL_DUE: Final = 4
_DONE: Final = 5
_FAILED: Final = 6


class ServerAuthenticator:
    """Authenticates one client: send `start()`, then pass every answer to `receive`.

    Args:
        method: trust, password, md5, scram-sha-256, or scram-sha-256-plus (which offers nothing else).
        user: the name from the StartupMessage.
        secret: the user's verifier as `pg_authid.rolpassword` holds it (`ScramVerifier.format`,
            `md5_verifier`); None for a user who does not exist or has no password.
        random: 18 fresh random bytes or more, for nonce and salt.
        mock_secret: random bytes that this server keeps; the salts for unknown users are made from them.
        channel_binding_data: the tls-server-end-point data of this connection, if it has TLS; then
            SCRAM-SHA-256-PLUS is offered.
        iterations: the iteration count for users who do not exist: the same as for those who do.

    Raises:
        ConfigError: the method or the secret cannot be used.
        LocalProtocolError: another argument does not fit.
    """

    __slots__ = (
        "_binding",
        "_has_md5",
        "_md5",
        "_nonce",
        "_salt",
        "_scram",
        "_state",
        "_user",
        "_verifier",
        "method",
    )

    def __init__(
        self,
        method: str,
        *,
        user: str,
        secret: str | None,
        random: bytes,
        mock_secret: bytes,
        channel_binding_data: bytes | None = None,
        iterations: int = 4096,
    ) -> None:
        if method not in SERVER_METHODS:
            raise ConfigError(f'unknown authentication method "{method}"')
        if len(random) < _NONCE_BYTES:
            raise LocalProtocolError(f"{_NONCE_BYTES} random bytes are needed")
        if channel_binding_data is not None:
            check_binding(channel_binding_data)
        elif method == "scram-sha-256-plus":
            raise LocalProtocolError("scram-sha-256-plus needs channel binding data")
        self.method: str = method
        self._user: str = user
        # The mock secrets are always made, so that an unknown user takes no more time than a known one.
        self._verifier: ScramVerifier = ScramVerifier.mock(user, mock_secret, iterations)
        self._md5: str = "md5" + mac(mock_secret, b"md5:" + user.encode("utf-8", "surrogatepass")).hex()[:32]
        self._has_md5: bool = False
        if secret is not None:
            if _is_md5(secret):
                self._md5 = secret
                self._has_md5 = True
            else:
                self._verifier = ScramVerifier.parse(secret)
        self._nonce: str = to_base64(random[:_NONCE_BYTES]).decode("ascii")
        self._salt: bytes = random[:4]
        self._binding: bytes | None = channel_binding_data
        self._scram: ScramServer | None = None
        self._state: int = _START

    @property
    def authenticated(self) -> bool:
        """True once AuthenticationOk was returned."""
        return self._state == _DONE

    @property
    def failed(self) -> bool:
        """True once the client was refused, or sent something illegal."""
        return self._state == _FAILED

    @property
    def mechanisms(self) -> list[str]:
        """The SASL mechanisms on offer, the best first."""
        if self.method == "scram-sha-256-plus":
            return [SCRAM_SHA_256_PLUS]
        if self._binding is not None:
            return [SCRAM_SHA_256_PLUS, SCRAM_SHA_256]
        return [SCRAM_SHA_256]

    def start(self) -> Message:
        """The first message to send; AuthenticationOk for trust.

        Raises:
            LocalProtocolError: called twice.
        """
        if self._state != _START:
            raise LocalProtocolError("authentication has begun already")
        if self.method == "trust":
            self._state = _DONE
            return AuthenticationOk()
        if self.method == "password":
            self._state = _PASSWORD_DUE
            return AuthenticationCleartextPassword()
        if self.method == "md5":
            self._state = _MD5_DUE
            return AuthenticationMD5Password(self._salt)
        self._state = _FIRST_DUE
        return AuthenticationSASL(self.mechanisms)

    def receive(self, message: Message) -> list[Message]:
        """Check one answer of the client.

        Args:
            message: PasswordMessage, SASLInitialResponse or SASLResponse.

        Returns:
            The messages to send: the next request, AuthenticationOk at the end, or the ErrorResponse
            (28P01) that ends the session.

        Raises:
            RemoteProtocolError: the answer is malformed, or does not belong to the request.
        """
        state = self._state
        self._state = _FAILED
        if isinstance(message, PasswordMessage) and state in (_PASSWORD_DUE, _MD5_DUE):
            if state == _PASSWORD_DUE:
                right = self._is_password(message.password)
            else:
                right = hmac.compare_digest(message.password, md5_answer(self._md5, self._salt))
            return [self._accept()] if right else [self._refuse()]
        if isinstance(message, SASLInitialResponse) and state == _FIRST_DUE:
            if message.mechanism not in self.mechanisms:
                raise RemoteProtocolError("client selected an invalid SASL authentication mechanism")
            if message.data is None:
                raise RemoteProtocolError("SASLInitialResponse without the client-first-message")
            self._scram = ScramServer(
                self._verifier,
                self._nonce,
                channel_binding=self._binding,
                mechanism=message.mechanism,
            )
            challenge = self._scram.challenge(message.data)
            self._state = _FINAL_DUE
            return [AuthenticationSASLContinue(challenge)]
        if isinstance(message, SASLResponse) and state == _FINAL_DUE and self._scram is not None:
            final = self._scram.finish(message.data)
            if final is None:
                return [self._refuse()]
            return [AuthenticationSASLFinal(final), self._accept()]
        raise RemoteProtocolError(f"unexpected {type(message).__name__} during authentication")

    def _is_password(self, data: bytes) -> bool:
        # An empty password is never right (CVE-2017-7546), and a password cannot contain a NUL.
        if not data or b"\0" in data:
            return False
        password = data.decode("utf-8", "surrogateescape")
        # The slow hash is always computed, so that the time does not reveal the kind of secret.
        right = self._verifier.matches(password)
        if self._has_md5:
            right = hmac.compare_digest(md5_verifier(self._user, password).encode(), self._md5.encode())
        return right

    def _accept(self) -> Message:
        self._state = _DONE
        return AuthenticationOk()

    def _refuse(self) -> Message:
        text = f'password authentication failed for user "{self._user}"'
        return ErrorResponse({"S": "FATAL", "V": "FATAL", "C": "28P01", "M": text})


def _is_md5(secret: str) -> bool:
    """True for `md5` and 32 lower-case hexadecimal digits, as PostgreSQL writes it."""
    return len(secret) == 35 and secret.startswith("md5") and not secret[3:].strip("0123456789abcdef")
