"""The requests for authentication that a backend sends: one type byte, then an int32 that says which.

Manual: "Message Formats", AuthenticationOk and what follows it there.
"""
# ruff: noqa: D102 - `encode` is documented once, in Message

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ..errors import LocalProtocolError
from . import tags
from .exact import exact_bytes
from .messages import Message, PlainMessage, cstrings, frame, int32


class AuthenticationMD5Password(Message):
    """Asks for an MD5-hashed password.  `salt` has four bytes."""

    __slots__ = ("salt",)
    tag: ClassVar[int] = tags.AUTHENTICATION
    type_byte: int = tags.AUTHENTICATION
    field_names: ClassVar[tuple[str, ...]] = ("salt",)

    def __init__(self, salt: bytes) -> None:
        self.request = None
        self.salt = salt

    def encode(self) -> bytes:
        salt = exact_bytes(self.salt)
        if len(salt) != 4:
            raise LocalProtocolError(f"a salt has 4 bytes, not {len(salt)}")
        return _authentication(tags.AUTH_MD5_PASSWORD, salt)


class AuthenticationData(Message):
    """Base of the authentication messages that carry a mechanism's data."""

    __slots__ = ("data",)
    tag: ClassVar[int] = tags.AUTHENTICATION
    type_byte: int = tags.AUTHENTICATION
    field_names: ClassVar[tuple[str, ...]] = ("data",)
    secret_names: ClassVar[tuple[str, ...]] = ("data",)
    code: ClassVar[int] = 0
    """The int32 in front of the data."""

    def __init__(self, data: bytes) -> None:
        self.request = None
        self.data = data

    def encode(self) -> bytes:
        return _authentication(self.code, self.data)


class AuthenticationGSSContinue(AuthenticationData):
    """A GSSAPI or SSPI token."""

    __slots__ = ()
    code: ClassVar[int] = tags.AUTH_GSS_CONTINUE


class AuthenticationSASLContinue(AuthenticationData):
    """A further step of a SASL exchange: the mechanism's challenge."""

    __slots__ = ()
    code: ClassVar[int] = tags.AUTH_SASL_CONTINUE


class AuthenticationSASLFinal(AuthenticationData):
    """The end of a SASL exchange: the mechanism's outcome data (SCRAM: the server's signature)."""

    __slots__ = ()
    code: ClassVar[int] = tags.AUTH_SASL_FINAL


class AuthenticationSASL(Message):
    """Asks for SASL and names the server's mechanisms, the preferred one first."""

    __slots__ = ("mechanisms",)
    tag: ClassVar[int] = tags.AUTHENTICATION
    type_byte: int = tags.AUTHENTICATION
    field_names: ClassVar[tuple[str, ...]] = ("mechanisms",)

    def __init__(self, mechanisms: Sequence[str]) -> None:
        self.request = None
        self.mechanisms = mechanisms

    def encode(self) -> bytes:
        if "" in self.mechanisms:
            raise LocalProtocolError("a SASL mechanism needs a name")
        text = "".join([name + "\x00" for name in self.mechanisms])
        return _authentication(tags.AUTH_SASL, cstrings(text + "\x00", len(self.mechanisms) + 1))


class AuthenticationOk(PlainMessage):
    """Authentication succeeded."""

    __slots__ = ()
    tag: ClassVar[int] = tags.AUTHENTICATION
    type_byte: int = tags.AUTHENTICATION
    encoded: ClassVar[bytes] = b"R\x00\x00\x00\x08\x00\x00\x00\x00"


class AuthenticationKerberosV5(PlainMessage):
    """Asks for Kerberos V5 (no server has sent it since 9.3)."""

    __slots__ = ()
    tag: ClassVar[int] = tags.AUTHENTICATION
    type_byte: int = tags.AUTHENTICATION
    encoded: ClassVar[bytes] = b"R\x00\x00\x00\x08\x00\x00\x00\x02"


class AuthenticationCleartextPassword(PlainMessage):
    """Asks for the password in clear text."""

    __slots__ = ()
    tag: ClassVar[int] = tags.AUTHENTICATION
    type_byte: int = tags.AUTHENTICATION
    encoded: ClassVar[bytes] = b"R\x00\x00\x00\x08\x00\x00\x00\x03"


class AuthenticationGSS(PlainMessage):
    """Asks for GSSAPI."""

    __slots__ = ()
    tag: ClassVar[int] = tags.AUTHENTICATION
    type_byte: int = tags.AUTHENTICATION
    encoded: ClassVar[bytes] = b"R\x00\x00\x00\x08\x00\x00\x00\x07"


class AuthenticationSSPI(PlainMessage):
    """Asks for SSPI."""

    __slots__ = ()
    tag: ClassVar[int] = tags.AUTHENTICATION
    type_byte: int = tags.AUTHENTICATION
    encoded: ClassVar[bytes] = b"R\x00\x00\x00\x08\x00\x00\x00\x09"


def _authentication(code: int, data: bytes) -> bytes:
    return frame(tags.AUTHENTICATION, int32(code) + exact_bytes(data))
