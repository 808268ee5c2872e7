"""What was escaped comes back from a server as it was, whatever its settings for strings are."""

from __future__ import annotations

import pytest

import pgproto_blocking
from pgproto.types import escape_bytea, escape_string, quote_identifier, quote_literal, unescape_bytea
from tests.support.postgres import PostgresServer

TEXTS = [
    "",
    "it's",
    "\\",
    "\\'",
    "'\\''",
    "a\\nb\n",
    "$1 %s :x ?",
    'x"y',
    "é日本\U0001f600",
    "E'",
    "--",
    "/*",
    "'; select 1; --",
]
ASCII = "".join(map(chr, range(1, 128)))


@pytest.mark.parametrize("conforming", [True, False])
def test_a_round_trip(pg: PostgresServer, conforming: bool) -> None:
    with pgproto_blocking.connect(pg.dsn()) as conn:
        conn.script("set escape_string_warning = off")
        conn.script(f"set standard_conforming_strings = {'on' if conforming else 'off'}")
        for text in [*TEXTS, ASCII]:
            escaped = escape_string(text, standard_conforming_strings=conforming)
            assert conn.fetchval(f"select '{escaped}'") == text
            assert conn.fetchval(f"select{quote_literal(text)}") == text
            if text:
                name = text[:20]
                (row,) = conn.fetch(f"select 1 as {quote_identifier(name)}")
                assert list(row.keys()) == [name]
        every = bytes(range(256)) + b"\\\\x'"
        escaped = escape_bytea(every, standard_conforming_strings=conforming)
        assert conn.fetchval(f"select '{escaped}'::bytea") == every
        for style in ("hex", "escape"):
            conn.script(f"set bytea_output = {style}")
            shown = conn.fetchval("select ($1::bytea)::text", every)
            assert unescape_bytea(shown) == every
