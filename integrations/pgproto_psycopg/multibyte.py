"""The characters of the server's encodings, as far as libpq checks them before it escapes a text.

Manual: "Character Set Support".  libpq: pg_encoding_mblen, pg_encoding_verifymbchar.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

__all__ = ["has_ascii_inside", "problem", "size"]


def _two(first: int, second: int) -> int:
    return 2 if first > 0x7F else 1


def _sjis(first: int, second: int) -> int:
    return 1 if first <= 0x7F or 0xA1 <= first <= 0xDF else 2


def _gb18030(first: int, second: int) -> int:
    if first <= 0x7F:
        return 1
    return 4 if 0x30 <= second <= 0x39 else 2


def _euc(first: int, second: int) -> int:
    if first == 0x8F:
        return 3
    return 2 if first > 0x7F else 1


def _euc_tw(first: int, second: int) -> int:
    return 4 if first == 0x8E else _euc(first, second)


def _utf8(first: int, second: int) -> int:
    if first & 0xE0 == 0xC0:
        return 2
    if first & 0xF0 == 0xE0:
        return 3
    return 4 if first & 0xF8 == 0xF0 else 1


_SIZES: Final[dict[bytes, Callable[[int, int], int]]] = {
    b"UTF8": _utf8,
    **dict.fromkeys((b"BIG5", b"GBK", b"UHC", b"JOHAB"), _two),
    **dict.fromkeys((b"SJIS", b"SHIFT_JIS_2004"), _sjis),
    **dict.fromkeys((b"EUC_JP", b"EUC_KR", b"EUC_CN", b"EUC_JIS_2004"), _euc),
    b"EUC_TW": _euc_tw,
    b"GB18030": _gb18030,
}

_HIGH: Final = b"[\xa1-\xfe]"
_VALID: Final[dict[bytes, re.Pattern[bytes]]] = {
    **dict.fromkeys((b"BIG5", b"GBK", b"UHC"), re.compile(rb"(?!\x8d )[\x80-\xff][^\0]", re.DOTALL)),
    b"JOHAB": re.compile(rb"[\xa1-\xfe]+"),
    **dict.fromkeys(
        (b"SJIS", b"SHIFT_JIS_2004"),
        re.compile(rb"[\xa1-\xdf]|[\x81-\x9f\xe0-\xfc][\x40-\x7e\x80-\xfc]"),
    ),
    **dict.fromkeys(
        (b"EUC_JP", b"EUC_JIS_2004"),
        re.compile(rb"\x8e[\xa1-\xdf]|\x8f" + _HIGH + _HIGH + rb"|" + _HIGH + _HIGH),
    ),
    **dict.fromkeys((b"EUC_KR", b"EUC_CN"), re.compile(_HIGH + _HIGH)),
    b"EUC_TW": re.compile(rb"\x8e[\xa1-\xa7]" + _HIGH + _HIGH + rb"|" + _HIGH + _HIGH),
    b"GB18030": re.compile(rb"[\x81-\xfe][\x30-\x39][\x81-\xfe][\x30-\x39]|[\x81-\xfe][\x40-\x7e\x80-\xfe]"),
}


def has_ascii_inside(encoding: bytes) -> bool:
    """True if a character of several bytes may have one that is an ASCII character.

    Args:
        encoding: the server's name of the encoding.
    """
    return _SIZES.get(encoding) in (_two, _sjis, _gb18030)


def size(encoding: bytes, text: bytes, position: int) -> int:
    """The number of bytes that the character at a position should have.

    Args:
        encoding: the server's name of the encoding.
        text: the text.
        position: where the character begins.
    """
    count = _SIZES.get(encoding)
    if count is None:
        return 1
    return count(text[position], text[position + 1] if position + 1 < len(text) else 0)


def problem(encoding: bytes, text: bytes, *, at_once: bool) -> str:
    """What is wrong with a text; "" if it is valid.

    Args:
        encoding: the server's name of the encoding.
        text: the text.
        at_once: True to judge all of it at the first character that is not ASCII, as libpq does for
            literals and identifiers; False to judge one character after the other.

    Returns:
        "invalid" or "incomplete".
    """
    if encoding not in _SIZES:
        return ""
    position = 0
    while position < len(text):
        if text[position] <= 0x7F:
            position += 1
            continue
        count = size(encoding, text, position)
        if count > len(text) - position:
            return "incomplete"
        if not _is_valid(encoding, text[position : position + count]):
            return "invalid"
        position += count
        if at_once:
            return "invalid" if problem(encoding, text[position:], at_once=False) else ""
    return ""


def _is_valid(encoding: bytes, character: bytes) -> bool:
    if encoding == b"UTF8":
        try:
            character.decode()
        except UnicodeDecodeError:
            return False
        return True
    return _VALID[encoding].fullmatch(character) is not None
