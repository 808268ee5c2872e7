"""Literals, names and bytea as pieces of SQL text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pgproto.types import escape_bytea, escape_string, quote_identifier, quote_literal, unescape_bytea


def test_literals() -> None:
    assert quote_literal("it's") == "'it''s'"
    assert quote_literal("a\\b'") == " E'a\\\\b'''"
    assert quote_literal("") == "''"


def test_identifiers() -> None:
    assert quote_identifier('a"b') == '"a""b"'
    assert quote_identifier("é\\") == '"é\\"'


def test_strings() -> None:
    assert escape_string("it's \\") == "it''s \\"
    assert escape_string("it's \\", standard_conforming_strings=False) == "it''s \\\\"


@pytest.mark.parametrize("escape", [quote_literal, quote_identifier, escape_string])
def test_what_is_no_text_is_refused(escape: Callable[[Any], str]) -> None:
    class Loud(str):
        def replace(self, *args: object) -> str:
            raise AssertionError

    assert "x" in escape(Loud("x"))
    for text in ("a\0b", "\ud800"):
        with pytest.raises(ValueError, match=r"cannot contain a (NUL|lone)"):
            escape(text)
    for other in (b"x", None, 1):
        with pytest.raises(TypeError):
            escape(other)


@pytest.mark.parametrize("data", [b"", b"\0'\\\xff", bytes(range(256))])
def test_bytea(data: bytes) -> None:
    assert escape_bytea(data) == "\\x" + data.hex()
    assert escape_bytea(bytearray(data), standard_conforming_strings=False) == "\\\\x" + data.hex()
    assert unescape_bytea(escape_bytea(memoryview(data))) == data
    assert unescape_bytea(escape_bytea(data).encode()) == data


def test_the_old_format_of_bytea() -> None:
    assert unescape_bytea(r"a\\b\000\377\'") == b"a\\b\0\xff'"
    assert unescape_bytea(rb"\400\08\0") == b"400080"
    assert unescape_bytea("a\\") == b"a"
    assert unescape_bytea("") == b""


def test_what_is_no_bytea_is_refused() -> None:
    for text in ("\\xf", "\\xgg", "\\x\u00e9"):
        with pytest.raises(ValueError, match="hexadecimal"):
            unescape_bytea(text)
    wrong: Any
    for wrong in (1, None):
        with pytest.raises(TypeError):
            unescape_bytea(wrong)
    for wrong in ("x", 1, None):
        with pytest.raises(TypeError):
            escape_bytea(wrong)
