"""SASLprep (RFC 4013), as PostgreSQL applies it to passwords.

The rule is PostgreSQL's `pg_saslprep` (src/common/saslprep.c), because client and server must agree on
every byte.  A password that the profile refuses (prohibited, unassigned, bidirectional, empty after
mapping, not UTF-8) is not an error: its bytes are used unchanged.  In two details this follows the server
and not the RFC: ASCII is never changed, and the checks look at the mapped text *before* normalisation; in
the RFC they look at it afterwards.

Contract: pure functions.  A `str` carries undecodable bytes as the lone surrogates of PEP 383, as
`os.environ` does; they are encoded as those bytes again.
"""

from __future__ import annotations

import stringprep
import unicodedata

from ..errors import ConfigError
from ..wire.exact import exact_str

__all__ = ["encode_password", "prepare_password"]


def encode_password(password: str, what: str = "password") -> bytes:
    """The password's bytes without preparation, as cleartext and MD5 authentication use them.

    Args:
        password: the password; lone surrogates U+DC80 to U+DCFF stand for undecodable bytes.
        what: the word for it in error texts.

    Returns:
        Its bytes in UTF-8.

    Raises:
        ConfigError: the password contains a NUL, which the protocol cannot carry, or a surrogate that
            stands for no byte.  The text does not quote the password.
    """
    data: bytes | None = None
    password = exact_str(password)
    try:
        data = password.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # Raised below, outside of the handler: as the __context__, the UnicodeEncodeError would show the
        # password.
        pass
    if data is None:
        raise ConfigError(f"the {what} cannot be encoded in UTF-8")
    if b"\0" in data:
        raise ConfigError(f"the {what} contains a NUL character")
    return data


def prepare_password(password: str) -> bytes:
    """The password's bytes as SCRAM hashes them (RFC 4013; RFC 5802, section 2.2).

    Args:
        password: the password; lone surrogates U+DC80 to U+DCFF stand for undecodable bytes.

    Returns:
        The prepared password in UTF-8, or its own bytes if SASLprep refuses it.

    Raises:
        ConfigError: as `encode_password`.
    """
    password = exact_str(password)
    raw = encode_password(password)
    if password.isascii():
        return raw
    prepared = _saslprep(password)
    return raw if prepared is None else prepared.encode("utf-8")


def _saslprep(text: str) -> str | None:
    """The text after SASLprep; None if the profile refuses it."""
    # Step 1, map.  U+200B is in both tables; PostgreSQL looks for spaces first.
    mapped: list[str] = []
    for char in text:
        if stringprep.in_table_c12(char):
            mapped.append(" ")
        elif not stringprep.in_table_b1(char):
            mapped.append(char)
    if not mapped:
        return None
    # Steps 3 and 4, prohibit and check bidi.
    right_to_left = False
    left_to_right = False
    for char in mapped:
        if _prohibited(char):
            return None
        if stringprep.in_table_d1(char):
            right_to_left = True
        elif stringprep.in_table_d2(char):
            left_to_right = True
    if right_to_left and (
        left_to_right or not stringprep.in_table_d1(mapped[0]) or not stringprep.in_table_d1(mapped[-1])
    ):
        return None
    # Step 2, normalise.  It comes last, as the server does it (see above), and uses today's tables, also as
    # the server does: for characters of Unicode 3.2 they differ in five corrected ones only.
    return unicodedata.normalize("NFKC", "".join(mapped))


def _prohibited(char: str) -> bool:
    """True for the characters of RFC 4013, sections 2.3 and 2.5: prohibited, or unassigned."""
    return (
        stringprep.in_table_c21_c22(char)  # control characters
        or stringprep.in_table_c3(char)  # private use
        or stringprep.in_table_c4(char)  # non-characters
        or stringprep.in_table_c5(char)  # surrogates, so that text that was not UTF-8 ends here
        or stringprep.in_table_c6(char)  # inappropriate for plain text
        or stringprep.in_table_c7(char)  # inappropriate for canonical representation
        or stringprep.in_table_c8(char)  # change display properties, or deprecated
        or stringprep.in_table_c9(char)  # tagging characters
        or stringprep.in_table_a1(char)  # unassigned in Unicode 3.2
    )
