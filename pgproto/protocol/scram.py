"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, both roles (RFC 5802, RFC 7677; manual: "SASL Authentication").

An exchange has four messages.  The client makes its own by `first_message` and `final_message`, the server
by `challenge` and `finish`; each side checks the other's message before it goes on:

    client-first   <gs2 header>n=,r=<client nonce>         ScramClient.first_message -> ScramServer.challenge
    server-first   r=<both nonces>,s=<salt>,i=<count>      ScramClient.receive_challenge
    client-final   c=<binding>,r=<both nonces>,p=<proof>   ScramClient.final_message -> ScramServer.finish
    server-final   v=<signature>  or  e=<error>            ScramClient.verify

Rules.  The parsers accept exactly one order of attributes, canonical base64, values up to a limit, no
extensions, and nothing after the end (RFC 5802 lets a receiver ignore optional extensions, but PostgreSQL
has never sent one, so an extension is refused).  The iteration count is checked before any hashing.
Secrets are compared in constant time, and no repr or error text contains one.
Contract: no randomness, nonces and salts are arguments.  A failed call ends the exchange.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from ..errors import LocalProtocolError, RemoteProtocolError
from .saslprep import encode_password, prepare_password
from .verifier import ScramVerifier, digest, from_base64, mac, to_base64

__all__ = [
    "MAX_ITERATIONS",
    "SCRAM_SHA_256",
    "SCRAM_SHA_256_PLUS",
    "ScramClient",
    "ScramServer",
]

SCRAM_SHA_256: Final = "SCRAM-SHA-256"
SCRAM_SHA_256_PLUS: Final = "SCRAM-SHA-256-PLUS"

MAX_ITERATIONS: Final = 1_000_000
"""Default limit for the server's iteration count: about half a second of hashing."""

# Lengths of values.  PostgreSQL sends nonces of 24 + 24 and salts of 24 characters.
_MIN_NONCE: Final = 16
_MAX_NONCE: Final = 1024
_MAX_SALT: Final = 1024
_MAX_DIGITS: Final = 10
_MAX_BINDING: Final = 1024
_MAX_ERROR: Final = 64
_KEY_LENGTH: Final = 32

_PRINTABLE: Final = bytes([*range(0x21, 0x2C), *range(0x2D, 0x7F)])
"""RFC 5802's `printable`: visible ASCII without the comma."""

_BINDING_HEADER: Final = b"p=tls-server-end-point,,"

_NOT_STARTED: Final = 0
_CHALLENGE_DUE: Final = 1
_FINAL_DUE: Final = 2
_SIGNATURE_DUE: Final = 3
_VERIFIED: Final = 4
_FAILED: Final = 5


class ScramClient:
    """The client's side of one exchange.

    The order of calls: `first_message`, `receive_challenge`, `final_message`, `verify`.

    Args:
        password: the password, not empty.
        nonce: the client's nonce: fresh for every exchange, 16 to 512 printable ASCII characters without a
            comma.  libpq sends 18 random bytes in base64.
        channel_binding: the tls-server-end-point data (RFC 5929): the hash of the server's certificate.
            If given, the mechanism is SCRAM-SHA-256-PLUS.  Never empty.
        binding_supported: for an exchange without binding: True tells the server (`y`) that the client
            supports binding but saw no offer of it, so that the server notices if its offer was removed.
        username: the name in the client-first-message.  Empty, as libpq sends it: PostgreSQL ignores it
            and takes the name from the StartupMessage.
        max_iterations: the largest iteration count to accept.

    Raises:
        LocalProtocolError: an argument does not fit.
        ConfigError: the user name cannot be encoded.
    """

    __slots__ = (
        "_auth_message",
        "_bare",
        "_binding",
        "_gs2",
        "_max_iterations",
        "_nonce",
        "_password",
        "_salt",
        "_server_key",
        "_state",
        "_without_proof",
        "iterations",
    )

    def __init__(
        self,
        password: str,
        nonce: str,
        *,
        channel_binding: bytes | None = None,
        binding_supported: bool = False,
        username: str = "",
        max_iterations: int = MAX_ITERATIONS,
    ) -> None:
        if not password:
            raise LocalProtocolError("an empty password cannot authenticate")
        self._password: str = password
        self._nonce: bytes = check_nonce(nonce)
        if channel_binding is not None:
            check_binding(channel_binding)
            self._gs2: bytes = _BINDING_HEADER
            self._binding: bytes = channel_binding
        else:
            self._gs2 = b"y,," if binding_supported else b"n,,"
            self._binding = b""
        self._max_iterations: int = max_iterations
        name = encode_password(username, "user name").replace(b"=", b"=3D").replace(b",", b"=2C")
        self._bare: bytes = b"n=%b,r=%b" % (name, self._nonce)
        self._salt: bytes = b""
        self._auth_message: bytes = b""
        self._without_proof: bytes = b""
        self._server_key: bytes = b""
        self._state: int = _NOT_STARTED
        self.iterations: int = 0
        """The iteration count that the server asked for; 0 before `receive_challenge`."""

    @property
    def mechanism(self) -> str:
        """The name of the SASL mechanism: SCRAM-SHA-256-PLUS with channel binding, else SCRAM-SHA-256."""
        return SCRAM_SHA_256_PLUS if self._binding else SCRAM_SHA_256

    @property
    def channel_bound(self) -> bool:
        """True once the server's signature covers the channel binding."""
        return self.verified and self._binding != b""

    @property
    def verified(self) -> bool:
        """True once the server has proved that it knows the password's verifier."""
        return self._state == _VERIFIED

    def first_message(self) -> bytes:
        """The client-first-message.

        Raises:
            LocalProtocolError: called out of order.
        """
        self._expect(_NOT_STARTED, _CHALLENGE_DUE)
        return self._gs2 + self._bare

    def receive_challenge(self, data: bytes) -> None:
        """Take the server-first-message.  Hashes nothing; sets `iterations`.

        Args:
            data: the data of AuthenticationSASLContinue.

        Raises:
            RemoteProtocolError: the message is malformed, its nonce does not begin with the client's, or it
                asks for more iterations than allowed.
            LocalProtocolError: called out of order.
        """
        self._expect(_CHALLENGE_DUE, _FAILED)
        where = "server-first-message"
        values = _attributes(data, b"rsi", where)
        nonce = values[0]
        if len(nonce) > _MAX_NONCE or not _is_printable(nonce):
            raise _malformed(where, "invalid nonce")
        if not nonce.startswith(self._nonce):
            raise _malformed(where, "the nonce does not start with the client's")
        if len(nonce) == len(self._nonce):
            raise _malformed(where, "the server added nothing to the nonce")
        salt = from_base64(values[1], _MAX_SALT)
        if not salt:
            raise _malformed(where, "invalid salt")
        self._salt = salt
        self.iterations = _iterations(values[2], self._max_iterations, where)
        self._without_proof = b"c=" + to_base64(self._gs2 + self._binding) + b",r=" + nonce
        self._auth_message = self._bare + b"," + data + b"," + self._without_proof
        self._state = _FINAL_DUE

    def final_message(self) -> bytes:
        """The client-final-message with the proof.

        This call does the hashing: PBKDF2 over `iterations` rounds, about 0.5 s per million, with the
        GIL released.  The password is forgotten afterwards.

        Raises:
            LocalProtocolError: called out of order.
            ConfigError: the password cannot be encoded.
        """
        self._expect(_FINAL_DUE, _FAILED)
        salted = hashlib.pbkdf2_hmac("sha256", prepare_password(self._password), self._salt, self.iterations)
        self._password = ""
        client_key = mac(salted, b"Client Key")
        self._server_key = mac(salted, b"Server Key")
        proof = _xor(client_key, mac(digest(client_key), self._auth_message))
        self._state = _SIGNATURE_DUE
        return self._without_proof + b",p=" + to_base64(proof)

    def verify(self, data: bytes) -> None:
        """Take the server-final-message and check the server's signature.

        Args:
            data: the data of AuthenticationSASLFinal.

        Raises:
            RemoteProtocolError: the message is malformed, reports an error, or its signature is wrong,
                which means that the peer does not know the password.
            LocalProtocolError: called out of order.
        """
        self._expect(_SIGNATURE_DUE, _FAILED)
        where = "server-final-message"
        if data.startswith(b"e="):
            value = _attributes(data, b"e", where)[0]
            if not 0 < len(value) <= _MAX_ERROR or not _is_printable(value):
                raise _malformed(where, "invalid error value")
            raise RemoteProtocolError(f"the server ended SCRAM with the error {value.decode('ascii')}")
        signature = from_base64(_attributes(data, b"v", where)[0], 2 * _KEY_LENGTH)
        if signature is None or len(signature) != _KEY_LENGTH:
            raise _malformed(where, "invalid signature")
        if not hmac.compare_digest(signature, mac(self._server_key, self._auth_message)):
            raise RemoteProtocolError("incorrect server signature: the server does not know the password")
        self._state = _VERIFIED

    def _expect(self, state: int, after: int) -> None:
        if self._state != state:
            raise LocalProtocolError("SCRAM: this call is out of order")
        self._state = after


class ScramServer:
    """The server's side of one exchange: `challenge`, then `finish`.

    Args:
        verifier: the user's verifier, or `ScramVerifier.mock` for a user who does not exist.
        nonce: the server's nonce: fresh, 16 to 512 printable ASCII characters without a comma.
        channel_binding: the tls-server-end-point data of this connection's certificate, if the server
            offered SCRAM-SHA-256-PLUS.  Never empty.
        mechanism: the mechanism that the client chose.

    Raises:
        LocalProtocolError: an argument does not fit.
    """

    __slots__ = ("_auth_message", "_binding", "_combined", "_gs2", "_nonce", "_plus", "_state", "_verifier")

    def __init__(
        self,
        verifier: ScramVerifier,
        nonce: str,
        *,
        channel_binding: bytes | None = None,
        mechanism: str = SCRAM_SHA_256,
    ) -> None:
        if channel_binding is not None:
            check_binding(channel_binding)
        self._plus: bool = mechanism == SCRAM_SHA_256_PLUS
        if self._plus and channel_binding is None:
            raise LocalProtocolError("SCRAM-SHA-256-PLUS needs channel binding data")
        self._verifier: ScramVerifier = verifier
        self._nonce: bytes = check_nonce(nonce)
        self._binding: bytes = channel_binding or b""
        self._gs2: bytes = b""
        self._combined: bytes = b""
        self._auth_message: bytes = b""
        self._state: int = _CHALLENGE_DUE

    @property
    def verified(self) -> bool:
        """True once the client has proved that it knows the password."""
        return self._state == _VERIFIED

    def challenge(self, data: bytes) -> bytes:
        """Take the client-first-message, return the server-first-message.

        Raises:
            RemoteProtocolError: the message is malformed, or its channel binding does not fit the offer.
            LocalProtocolError: called out of order.
        """
        self._expect(_CHALLENGE_DUE)
        where = "client-first-message"
        header_end = data.find(b",", data.find(b",") + 1) + 1
        self._gs2 = data[:header_end]
        if self._gs2 not in (b"n,,", b"y,,", _BINDING_HEADER):
            raise _malformed(where, "unsupported GS2 header")
        if self._plus != (self._gs2 == _BINDING_HEADER):
            raise _malformed(where, "the GS2 header does not fit the mechanism")
        if self._gs2 == b"y,," and self._binding:
            # An attacker in between has removed the offer of SCRAM-SHA-256-PLUS.
            raise RemoteProtocolError(
                "SCRAM channel binding negotiation error: the client supports channel binding but thinks "
                "the server does not; however, this server does"
            )
        bare = data[header_end:]
        values = _attributes(bare, b"nr", where)
        nonce = values[1]
        if not 0 < len(nonce) <= _MAX_NONCE // 2 or not _is_printable(nonce):
            raise _malformed(where, "invalid nonce")
        self._combined = nonce + self._nonce
        answer = b"r=%b,s=%b,i=%d" % (
            self._combined,
            to_base64(self._verifier.salt),
            self._verifier.iterations,
        )
        self._auth_message = bare + b"," + answer
        self._state = _FINAL_DUE
        return answer

    def finish(self, data: bytes) -> bytes | None:
        """Take the client-final-message, return the server-final-message.

        Returns:
            The message with the server's signature; None if the proof is wrong (PostgreSQL then answers
            with SQLSTATE 28P01, not with SCRAM's `e=`).

        Raises:
            RemoteProtocolError: the message is malformed, or bound to another channel.
            LocalProtocolError: called out of order.
        """
        self._expect(_FINAL_DUE)
        where = "client-final-message"
        values = _attributes(data, b"crp", where)
        expected = self._gs2 + (self._binding if self._plus else b"")
        binding = from_base64(values[0], 2 * _MAX_BINDING)
        if binding is None or not hmac.compare_digest(binding, expected):
            raise RemoteProtocolError("SCRAM channel binding check failed")
        if not hmac.compare_digest(values[1], self._combined):
            raise _malformed(where, "the nonce is not the one that was agreed")
        proof = from_base64(values[2], 2 * _KEY_LENGTH)
        if proof is None or len(proof) != _KEY_LENGTH:
            raise _malformed(where, "invalid proof")
        auth_message = self._auth_message + b"," + data[: data.rindex(b",p=")]
        client_key = _xor(proof, mac(self._verifier.stored_key, auth_message))
        if not hmac.compare_digest(digest(client_key), self._verifier.stored_key):
            return None
        self._state = _VERIFIED
        return b"v=" + to_base64(mac(self._verifier.server_key, auth_message))

    def _expect(self, state: int) -> None:
        if self._state != state:
            raise LocalProtocolError("SCRAM: this call is out of order")
        self._state = _FAILED


def _attributes(data: bytes, names: bytes, where: str) -> list[bytes]:
    """The values of a message that has exactly these attributes, in this order.

    Neither base64 nor a nonce contains a comma, so every comma is a separator.
    """
    parts = data.split(b",", len(names))
    if len(parts) > len(names):
        raise _malformed(where, "garbage at the end")
    values: list[bytes] = []
    for i in range(len(names)):
        prefix = names[i : i + 1] + b"="
        if i >= len(parts) or not parts[i].startswith(prefix):
            raise _malformed(where, f"attribute {chr(names[i])} expected")
        values.append(parts[i][2:])
    return values


def _iterations(digits: bytes, cap: int, where: str) -> int:
    # The length is checked before the value: int() of a long string is quadratic.
    if not digits.isdigit() or digits.startswith(b"0"):
        raise _malformed(where, "invalid iteration count")
    if len(digits) > _MAX_DIGITS or int(digits) > cap:
        raise RemoteProtocolError(
            f"the server asks for more SCRAM iterations than the {cap} that are allowed (max_iterations)"
        )
    return int(digits)


def _is_printable(value: bytes) -> bool:
    return not value.translate(None, _PRINTABLE)


def check_nonce(nonce: str) -> bytes:
    """The nonce of this side as bytes, or LocalProtocolError."""
    if nonce.isascii() and _MIN_NONCE <= len(nonce) <= _MAX_NONCE // 2:
        value = nonce.encode("ascii")
        if _is_printable(value):
            return value
    raise LocalProtocolError(
        f"a SCRAM nonce has {_MIN_NONCE} to {_MAX_NONCE // 2} printable ASCII characters and no comma"
    )


def check_binding(data: bytes) -> None:
    """Raise LocalProtocolError unless the data can bind a channel."""
    # Empty data would bind to nothing, and a careless server would accept it as a channel binding.
    if not 0 < len(data) <= _MAX_BINDING:
        raise LocalProtocolError(f"channel binding data has 1 to {_MAX_BINDING} bytes")


def _malformed(where: str, what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"malformed SCRAM {where}: {what}")


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")
