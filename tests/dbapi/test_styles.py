"""Placeholders of the styles: what is replaced, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pgproto import LocalProtocolError
from pgproto.session.placeholders import tokens
from pgproto_blocking.dbapi import ProgrammingError
from pgproto_blocking.dbapi.styles import Style, binder, is_script


def bound(style: Style, sql: str, values: Any) -> tuple[str, list[Any]]:
    text, bind = binder(style, sql, values)
    return text, list(bind(values))


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select %s", "select $1"),
        ("select %s, %s::int4, %b %t", "select $1, $2::int4, $3 $4"),
        ("select%s", "select $1"),
        ("select %sand 1", "select $1 and 1"),
        ("select 5 %% %s", "select 5 % $1"),
        ("select '%s', %s", "select '%s', $1"),
        ("select 'a%%', '5%', %s", "select 'a%', '5%', $1"),
        ('select "%s%%", %s', 'select "%s%", $1'),
        (r"select E'\'%s', %s", r"select E'\'%s', $1"),
        ("select $$ %s $$, $x$ %s $$ $x$, %s", "select $$ %s $$, $x$ %s $$ $x$, $1"),
        ("select %s -- 5% %s\n, %s", "select $1 -- 5% %s\n, $2"),
        ("select /* %s /* %% */ %s */ %s", "select /* %s /* %% */ %s */ $1"),
        ("select x[%s:%s]", "select x[$1:$2]"),
        ("values(%s)", "values($1)"),
        ("select '", "select '"),
        ("", ""),
    ],
)
def test_positions(sql: str, expected: str) -> None:
    values = list(range(expected.count("$1") + expected.count("$2") + expected.count("$3 $4") * 2))
    for style in ("format", "pyformat"):
        assert bound(style, sql, values) == (expected, values)


@pytest.mark.parametrize(
    ("sql", "expected", "values"),
    [
        ("select %(a)s", "select $1", ["A"]),
        ("select %(b)s, %(a)s, %(b)s", "select $1, $2, $1", ["B", "A"]),
        ("select%(a)sand '%(b)s' %% %(c d)b", "select $1 and '%(b)s' % $2", ["A", "CD"]),
        ("select '5%%'", "select '5%'", []),
        ("select 5 %% 2", "select 5 % 2", []),
    ],
)
def test_names(sql: str, expected: str, values: list[str]) -> None:
    assert bound("pyformat", sql, {"a": "A", "b": "B", "c d": "CD"}) == (expected, values)


@pytest.mark.parametrize(
    ("sql", "values", "why"),
    [
        ("select 5 % 2", [1], "a percent sign that is no placeholder"),
        ("select %", [1], "a percent sign that is no placeholder"),
        ("select %d", [1], "a percent sign that is no placeholder"),
        ("select %(a)d", {"a": 1}, "a percent sign that is no placeholder"),
        ("select %s, %(a)s", {"a": 1}, "both"),
        ("select %s", {"a": 1}, "pass a sequence"),
        ("select %(a)s", [1], "pass a mapping"),
        ("select %(a)s", {"b": 1}, "no value for 'a'"),
    ],
)
def test_what_is_refused(sql: str, values: Any, why: str) -> None:
    with pytest.raises(ProgrammingError, match=why):
        bound("format", sql, values)


def test_numeric_dollar_takes_names_too() -> None:
    assert bound("numeric_dollar", "select $1, '%s'", [7]) == ("select $1, '%s'", [7])
    assert bound("numeric_dollar", "select $b, :a, $b", {"a": 1, "b": 2}) == ("select $1, $2, $1", [2, 1])
    with pytest.raises(LocalProtocolError, match="no parameter 'c'"):
        bound("numeric_dollar", "select $a", {"a": 1, "c": 2})


def test_every_record_has_the_kind_of_the_first() -> None:
    _, bind = binder("format", "select %s", [1])
    with pytest.raises(ProgrammingError, match="not a mapping"):
        bind({"a": 1})
    _, bind = binder("format", "select %(a)s", {"a": 1})
    with pytest.raises(ProgrammingError, match="not a sequence"):
        bind([1])


@pytest.mark.parametrize(
    ("sql", "several"),
    [
        ("select 1", False),
        ("select 1;", False),
        ("select 1; -- ;\n /* ; */ ", False),
        ("select ';'; ", False),
        ("do $$ begin; end $$", False),
        (";", False),
        ("select 1; select 2", True),
        ("select 1;;", True),
        ("; select 1", True),
    ],
)
def test_several_statements(sql: str, several: bool) -> None:
    assert is_script(sql) is several


def test_tokens_are_the_text() -> None:
    sql = "select 'a' \"b\" $$c$$ /* /* d */ */ -- e\n E'\\'' :f $g $1 h\0 'i"
    found = tokens(sql)
    assert "".join(text for _, text in found) == sql
    assert {kind for kind, _ in found} == {
        *("blank", "comment", "quoted", "dollar", "open", "word", "name", "number", "value")
    } | ({"other"} if any(kind == "other" for kind, _ in found) else set())
