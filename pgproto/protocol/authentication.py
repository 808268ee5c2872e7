"""The client's side of authentication: which requests of the server are allowed, and the answers.

Three checks come before any byte of an answer is made:

1. the user's policy: `require_auth` and `channel_binding`, with libpq's grammar, meaning and messages;
2. the link: a cleartext password or an MD5 hash is only sent over TLS or a unix socket, unless
   `require_auth` names the method;
3. the order, a table: one method per session.  A server that asks for SCRAM and then for a cleartext
   password, or sends AuthenticationOk before its signature was verified, is refused under any policy.
   (libpq accepts the latter without require_auth; its source calls this "a point to revisit".)

Contract: no I/O, no randomness, no secret in an error text or repr.  Any error is final.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..config.requireauth import RequiredAuth, parse_require_auth
from ..errors import ConfigError, LocalProtocolError, RemoteProtocolError
from ..wire import (
    AuthenticationCleartextPassword,
    AuthenticationGSS,
    AuthenticationGSSContinue,
    AuthenticationKerberosV5,
    AuthenticationMD5Password,
    AuthenticationOk,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
    AuthenticationSSPI,
    Message,
    PasswordMessage,
    SASLInitialResponse,
    SASLResponse,
)
from .saslprep import encode_password
from .scram import MAX_ITERATIONS, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramClient, check_binding, check_nonce
from .verifier import md5_password

__all__ = ["Authenticator"]

_SASL_METHODS: Final = ("scram-sha-256", "oauth")


# --- the order of messages ---------------------------------------------------------------------------

_START: Final = 0
_PASSWORD_SENT: Final = 1
_SASL_BEGUN: Final = 2
_PROOF_SENT: Final = 3
_VERIFIED: Final = 4
_DONE: Final = 5
_FAILED: Final = 6

_STATE_TEXT: Final = {
    _START: "before any authentication request",
    _PASSWORD_SENT: "after the password was sent",
    _SASL_BEGUN: "at the start of the SASL exchange",
    _PROOF_SENT: "before the server's SCRAM signature was verified",
    _VERIFIED: "after the SASL exchange",
    _DONE: "after AuthenticationOk",
    _FAILED: "after authentication failed",
}

_LEGAL: Final[dict[int, tuple[type[Message], ...]]] = {
    _START: (
        AuthenticationOk,
        AuthenticationCleartextPassword,
        AuthenticationMD5Password,
        AuthenticationSASL,
        AuthenticationKerberosV5,
        AuthenticationGSS,
        AuthenticationSSPI,
    ),
    _PASSWORD_SENT: (AuthenticationOk,),
    _SASL_BEGUN: (AuthenticationSASLContinue,),
    _PROOF_SENT: (AuthenticationSASLFinal,),
    _VERIFIED: (AuthenticationOk,),
    _DONE: (),
    _FAILED: (),
}

# --- requests: their methods in require_auth, libpq's error text, and the name of what is not supported ----

_REQUESTS: Final[dict[type[Message], tuple[tuple[str, ...], str, str]]] = {
    AuthenticationCleartextPassword: (("password",), "server requested a cleartext password", ""),
    AuthenticationMD5Password: (("md5",), "server requested a hashed password", ""),
    AuthenticationSASL: (_SASL_METHODS, "server requested SASL authentication", ""),
    AuthenticationSASLContinue: (_SASL_METHODS, "server requested SASL authentication", ""),
    AuthenticationSASLFinal: (_SASL_METHODS, "server requested SASL authentication", ""),
    AuthenticationGSS: (("gss",), "server requested GSSAPI authentication", "GSSAPI"),
    AuthenticationGSSContinue: (("gss", "sspi"), "server requested GSSAPI authentication", "GSSAPI"),
    AuthenticationSSPI: (("sspi",), "server requested SSPI authentication", "SSPI"),
    AuthenticationKerberosV5: ((), "server requested an unknown authentication type", "Kerberos 5"),
}

_SASL_REQUESTS: Final = (AuthenticationSASL, AuthenticationSASLContinue, AuthenticationSASLFinal)


class Authenticator:
    """Answers a server's authentication requests, as far as the policy allows.

    `respond` does it in one call.  An adapter that must not block its event loop calls `receive`, looks at
    `pending_iterations`, and runs `reply` in a thread if they are many.

    Args:
        user: the name of the StartupMessage; MD5 hashes it.
        password: the password; None or "" if there is none, which is an error only if the server asks.
        nonce: fresh randomness for SCRAM: 16 to 512 printable ASCII characters without a comma, as 18
            random bytes in base64.
        require_auth: libpq's `require_auth`; see `parse_require_auth`.
        channel_binding: libpq's `channel_binding`: disable, prefer or require.
        encrypted: True if the connection is encrypted by TLS.
        local: True if the connection is a unix socket.
        channel_binding_data: the tls-server-end-point data (RFC 5929) of the server's certificate; None
            without TLS, or if its signature algorithm has none (Ed25519).  Never empty.
        max_iterations: the largest SCRAM iteration count to accept.

    Raises:
        ConfigError: `require_auth` or `channel_binding` cannot be used.
        LocalProtocolError: the nonce or the binding data does not fit.
    """

    __slots__ = (
        "_binding",
        "_channel_binding",
        "_encrypted",
        "_local",
        "_max_iterations",
        "_nonce",
        "_password",
        "_pending",
        "_require",
        "_salt",
        "_scram",
        "_state",
        "_user",
        "method",
        "password_asked",
    )

    def __init__(
        self,
        *,
        user: str,
        password: str | None,
        nonce: str,
        require_auth: str = "",
        channel_binding: str = "prefer",
        encrypted: bool = False,
        local: bool = False,
        channel_binding_data: bytes | None = None,
        max_iterations: int = MAX_ITERATIONS,
    ) -> None:
        if channel_binding not in ("disable", "prefer", "require"):
            raise ConfigError(f'invalid channel_binding value: "{channel_binding}"')
        check_nonce(nonce)
        if channel_binding_data is not None:
            check_binding(channel_binding_data)
        self._user: str = user
        self._password: str = password or ""
        self._nonce: str = nonce
        self._require: RequiredAuth = parse_require_auth(require_auth)
        self._channel_binding: str = channel_binding
        self._encrypted: bool = encrypted
        self._local: bool = local
        self._binding: bytes | None = channel_binding_data
        self._max_iterations: int = max_iterations
        self._scram: ScramClient | None = None
        self._salt: bytes = b""
        self._pending: type[Message] | None = None
        self._state: int = _START
        self.method: str = ""
        """The chosen method, as `require_auth` names it; "" before the choice."""
        self.password_asked = False
        """True once the server has asked for a password, by any method, whether there is one or not.
        libpq: PQconnectionUsedPassword; PQconnectionNeedsPassword if there is none."""

    @property
    def authenticated(self) -> bool:
        """True once AuthenticationOk was accepted."""
        return self._state == _DONE

    @property
    def channel_bound(self) -> bool:
        """True once the server's signature was verified with channel binding."""
        return self._scram is not None and self._scram.channel_bound

    @property
    def pending_iterations(self) -> int:
        """How many rounds of PBKDF2 the next `reply` will compute; 0 if none."""
        if self._pending is AuthenticationSASLContinue and self._scram is not None:
            return self._scram.iterations
        return 0

    def respond(self, message: Message) -> Message | None:
        """Take one message of the server and return the answer: `receive`, then `reply`.

        Returns:
            The message to send, or None if none is due.

        Raises:
            RemoteProtocolError, ConfigError, LocalProtocolError: as `receive`.
        """
        self.receive(message)
        return self.reply()

    def receive(self, message: Message) -> None:
        """Check one Authentication message.  Hashes nothing.

        Args:
            message: AuthenticationOk, or the server's request.

        Raises:
            RemoteProtocolError: the policy, the link or the order of messages does not allow the message,
                it is malformed, or the method is not supported.
            ConfigError: the server asks for a password, and there is none or it cannot be sent.
            LocalProtocolError: `reply` was not called for the last message.
        """
        if self._pending is not None:
            raise LocalProtocolError("the reply to the last authentication request was not taken")
        state = self._state
        self._state = _FAILED
        kind = type(message)
        if kind is not AuthenticationOk:
            self._check_request(kind)
        if kind not in _LEGAL[state]:
            if kind is AuthenticationOk and self._require.required and state in (_SASL_BEGUN, _PROOF_SENT):
                raise self._requirement_failed("server did not complete authentication")
            raise RemoteProtocolError(f"unexpected {kind.__name__} {_STATE_TEXT[state]}")
        if isinstance(message, AuthenticationOk):
            self._accept(state)
        elif isinstance(message, AuthenticationSASL):
            self._choose_mechanism(message.mechanisms)
        elif isinstance(message, AuthenticationSASLContinue):
            self._exchange().receive_challenge(message.data)
            self._pending = kind
        elif isinstance(message, AuthenticationSASLFinal):
            self._exchange().verify(message.data)
            self._state = _VERIFIED
        elif isinstance(message, AuthenticationMD5Password):
            self._take_password("md5")
            self._salt = message.salt
            self._pending = kind
        elif isinstance(message, AuthenticationCleartextPassword):
            self._take_password("password")
            self._pending = kind
        else:
            raise RemoteProtocolError(f"{_REQUESTS[kind][2]} authentication not supported")

    def reply(self) -> Message | None:
        """The answer to the message given to `receive`; None if none is due.

        This call does the hashing; see `pending_iterations`.

        Raises:
            ConfigError: MD5 was asked for, and this Python does not offer it (FIPS mode).
        """
        kind = self._pending
        self._pending = None
        if kind is None:
            return None
        if kind is AuthenticationSASL:
            scram = self._exchange()
            self._state = _SASL_BEGUN
            return SASLInitialResponse(scram.mechanism, scram.first_message())
        if kind is AuthenticationSASLContinue:
            proof = self._exchange().final_message()
            self._state = _PROOF_SENT
            return SASLResponse(proof)
        if kind is AuthenticationMD5Password:
            data = md5_password(self._user, self._password, self._salt)
        else:
            data = encode_password(self._password)
        self._password = ""
        self._state = _PASSWORD_SENT
        return PasswordMessage(data)

    def _check_request(self, kind: type[Message]) -> None:
        """Check policy and link, in libpq's order (fe-auth.c, check_expected_areq)."""
        methods, reason, _ = _REQUESTS.get(kind, ((), "server requested an unknown authentication type", ""))
        allowed = False
        for method in methods:
            allowed = allowed or method in self._require.allowed
        if self._require.text and not allowed:
            raise self._requirement_failed(reason)
        if self._channel_binding == "require" and kind not in _SASL_REQUESTS:
            raise RemoteProtocolError(
                "channel binding required but not supported by server's authentication request"
            )
        if (
            kind in (AuthenticationCleartextPassword, AuthenticationMD5Password)
            and not (self._encrypted or self._local)
            and methods[0] not in self._require.listed
        ):
            raise RemoteProtocolError(
                f"{reason} over an unencrypted connection, which only require_auth={methods[0]} allows"
            )

    def _accept(self, state: int) -> None:
        """Check a legal AuthenticationOk against the policy."""
        if state == _START and self._require.required:
            raise self._requirement_failed("server did not complete authentication")
        if self._channel_binding == "require" and not self.channel_bound:
            raise RemoteProtocolError(
                "channel binding required, but server authenticated client without channel binding"
            )
        self.method = self.method or "none"
        self._password = ""
        self._state = _DONE

    def _choose_mechanism(self, offered: Sequence[str]) -> None:
        """Choose the best mechanism that both sides and the policy allow (fe-auth.c, pg_SASL_init)."""
        required = self._channel_binding == "require"
        if required and not self._encrypted:
            raise RemoteProtocolError("channel binding required, but SSL not in use")
        plus_offered = SCRAM_SHA_256_PLUS in offered
        if plus_offered and not self._encrypted:
            # Either an attacker in between has stripped TLS, or the server lies.
            raise RemoteProtocolError(
                "server offered SCRAM-SHA-256-PLUS authentication over a non-SSL connection"
            )
        can_bind = self._encrypted and self._channel_binding != "disable" and self._binding is not None
        plus = plus_offered and can_bind
        if required and plus_offered and not plus:
            raise RemoteProtocolError(
                "channel binding is required, but the server's certificate has no channel binding data"
            )
        if not plus and SCRAM_SHA_256 not in offered:
            names = ", ".join([_shown(name) for name in offered[:8]]) or "nothing"
            raise RemoteProtocolError(
                f"none of the server's SASL authentication mechanisms are supported (it offers {names})"
            )
        if required and not plus:
            raise RemoteProtocolError(
                "channel binding is required, but server did not offer an authentication method that "
                "supports channel binding"
            )
        if "scram-sha-256" not in self._require.allowed:
            mechanism = SCRAM_SHA_256_PLUS if plus else SCRAM_SHA_256
            raise self._requirement_failed(f"server requested {mechanism} authentication")
        self._take_password("scram-sha-256")
        self._scram = ScramClient(
            self._password,
            self._nonce,
            channel_binding=self._binding if plus else None,
            binding_supported=can_bind,
            max_iterations=self._max_iterations,
        )
        self._password = ""
        self._pending = AuthenticationSASL

    def _take_password(self, method: str) -> None:
        """Choose a method, if there is a password that can be sent."""
        self.password_asked = True
        if not self._password:
            raise ConfigError("no password supplied")
        encode_password(self._password)
        self.method = method

    def _exchange(self) -> ScramClient:
        assert self._scram is not None  # _LEGAL has no SASL message before AuthenticationSASL
        return self._scram

    def _requirement_failed(self, reason: str) -> RemoteProtocolError:
        return RemoteProtocolError(
            f'authentication method requirement "{self._require.text}" failed: {reason}'
        )


def _shown(name: str) -> str:
    """An untrusted name, made safe for an error text."""
    return ascii(name[:40])[1:-1]
