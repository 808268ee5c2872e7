"""What a server stores instead of passwords: SCRAM verifiers and MD5 hashes.

The text forms are those of `pg_authid.rolpassword`:
`SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>` (RFC 5803, as PostgreSQL spells it), and `md5`
with 32 hexadecimal digits.

Contract: pure; the salt is an argument.  Verifiers are secret, so no repr or error text shows one.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from typing import Final

from ..errors import ConfigError
from .saslprep import encode_password, prepare_password

__all__ = [
    "ScramVerifier",
    "digest",
    "from_base64",
    "mac",
    "md5_answer",
    "md5_password",
    "md5_verifier",
    "to_base64",
]

_SCHEME: Final = "SCRAM-SHA-256"
_KEY_LENGTH: Final = 32
_MAX_SALT: Final = 768
_MAX_ITERATIONS: Final = 2**31 - 1


class ScramVerifier:
    """What a server stores instead of a password (RFC 5802, section 3; `pg_authid.rolpassword`).

    It is a secret: with it one can impersonate the server and try out passwords.

    Args:
        salt: the salt, 1 to 768 bytes.
        iterations: the iteration count, 1 or more.
        stored_key: 32 bytes.
        server_key: 32 bytes.

    Raises:
        ConfigError: an argument does not fit.
    """

    __slots__ = ("iterations", "salt", "server_key", "stored_key")

    def __init__(self, salt: bytes, iterations: int, stored_key: bytes, server_key: bytes) -> None:
        _check_salt(salt, iterations)
        if len(stored_key) != _KEY_LENGTH or len(server_key) != _KEY_LENGTH:
            raise ConfigError("invalid SCRAM verifier: the keys have 32 bytes each")
        self.salt: bytes = salt
        self.iterations: int = iterations
        self.stored_key: bytes = stored_key
        self.server_key: bytes = server_key

    @staticmethod
    def from_password(password: str, salt: bytes, iterations: int = 4096) -> ScramVerifier:
        """Hash a password into its verifier.

        Args:
            password: the password.
            salt: the salt, random and different for every user; PostgreSQL's has 16 bytes.
            iterations: the iteration count; PostgreSQL's `scram_iterations`.

        Raises:
            ConfigError: an argument does not fit.
        """
        _check_salt(salt, iterations)
        salted = hashlib.pbkdf2_hmac("sha256", prepare_password(password), salt, iterations)
        return ScramVerifier(salt, iterations, digest(mac(salted, b"Client Key")), mac(salted, b"Server Key"))

    @staticmethod
    def mock(user: str, secret: bytes, iterations: int = 4096) -> ScramVerifier:
        """A verifier that no password fits, for a user who does not exist.

        It is the same for a user every time, so that asking twice does not reveal it.

        Args:
            user: the name from the StartupMessage.
            secret: random bytes that the server keeps; not empty.
            iterations: the iteration count of existing users.

        Raises:
            ConfigError: an argument does not fit.
        """
        if not secret:
            raise ConfigError("the secret for mock authentication is empty")
        name = user.encode("utf-8", "surrogatepass")
        return ScramVerifier(
            mac(secret, b"salt:" + name)[:16],
            iterations,
            mac(secret, b"stored:" + name),
            mac(secret, b"server:" + name),
        )

    @staticmethod
    def parse(text: str) -> ScramVerifier:
        """Read PostgreSQL's form, `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.

        Raises:
            ConfigError: the text is not a verifier.  The error does not quote it.
        """
        parts = text.split("$")
        if text.isascii() and len(parts) == 3 and parts[0] == _SCHEME:
            head = parts[1].split(":")
            keys = parts[2].split(":")
            if len(head) == 2 and len(keys) == 2 and head[0].isdigit() and len(head[0]) <= 10:
                salt = from_base64(head[1].encode(), 2 * _MAX_SALT)
                stored_key = from_base64(keys[0].encode(), 2 * _KEY_LENGTH)
                server_key = from_base64(keys[1].encode(), 2 * _KEY_LENGTH)
                if salt is not None and stored_key is not None and server_key is not None:
                    return ScramVerifier(salt, int(head[0]), stored_key, server_key)
        raise ConfigError("invalid SCRAM verifier")

    def format(self) -> str:
        """The verifier in PostgreSQL's form, as in `pg_authid.rolpassword`; `parse` reads it."""
        salt = to_base64(self.salt).decode("ascii")
        stored_key = to_base64(self.stored_key).decode("ascii")
        server_key = to_base64(self.server_key).decode("ascii")
        return f"{_SCHEME}${self.iterations}:{salt}${stored_key}:{server_key}"

    def matches(self, password: str) -> bool:
        """True if this is the verifier of `password` (for cleartext password authentication)."""
        other = ScramVerifier.from_password(password, self.salt, self.iterations)
        return hmac.compare_digest(other.stored_key, self.stored_key)

    def __repr__(self) -> str:
        return f"ScramVerifier(iterations={self.iterations}, <redacted>)"


def _check_salt(salt: bytes, iterations: int) -> None:
    if not 0 < len(salt) <= _MAX_SALT:
        raise ConfigError("invalid SCRAM verifier: the salt is empty or too long")
    if not 0 < iterations <= _MAX_ITERATIONS:
        raise ConfigError("invalid SCRAM verifier: the iteration count is out of range")


def md5_verifier(user: str, password: str) -> str:
    """The secret that PostgreSQL stores with `password_encryption=md5`: `md5`, and a hash.

    Args:
        user: the role's name, which serves as the salt.
        password: the password.

    Raises:
        ConfigError: the password or the name cannot be encoded, or this Python has no MD5 (FIPS mode).
    """
    return "md5" + _md5(encode_password(password) + encode_password(user, "user name"))


def md5_password(user: str, password: str, salt: bytes) -> bytes:
    """The answer to AuthenticationMD5Password (manual: "Message Flow", "Start-up").

    Args:
        user: the name from the StartupMessage.
        password: the password.
        salt: the four bytes of the request.

    Returns:
        `md5` and 32 hexadecimal digits, as PasswordMessage carries them.

    Raises:
        ConfigError: the password or the name cannot be encoded, or this Python has no MD5 (FIPS mode).
    """
    return md5_answer(md5_verifier(user, password), salt)


def md5_answer(verifier: str, salt: bytes) -> bytes:
    """As `md5_password`, but from the verifier that a server has."""
    return b"md5" + _md5(verifier[3:].encode("ascii") + salt).encode("ascii")


def _md5(data: bytes) -> str:
    try:
        return hashlib.md5(data).hexdigest()  # noqa: S324 (the protocol says so; policies can refuse it)
    except ValueError:
        raise ConfigError("could not encrypt password: this Python offers no MD5 (FIPS mode)") from None


def to_base64(data: bytes) -> bytes:
    """The data in base64, on one line."""
    return binascii.b2a_base64(data, newline=False)


def from_base64(text: bytes, cap: int) -> bytes | None:
    """The bytes of canonical base64 of at most `cap` characters; None if it is anything else."""
    if len(text) > cap:
        return None
    try:
        data = binascii.a2b_base64(text)
    except binascii.Error:
        return None
    # The decoder skips unknown characters; only canonical base64 encodes to the same text again.
    return data if to_base64(data) == text else None


def mac(key: bytes, data: bytes) -> bytes:
    """RFC 5802's HMAC()."""
    return hmac.digest(key, data, "sha256")


def digest(data: bytes) -> bytes:
    """RFC 5802's H()."""
    return hashlib.sha256(data).digest()
