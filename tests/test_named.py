"""Named parameters: only placeholders are replaced, whatever is around them."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgproto import Batch, LocalProtocolError, Outcome, named
from pgproto.session.batch import as_item


def rewritten(sql: str) -> tuple[str, tuple[object, ...]]:
    """The text and the names of its parameters: each name that could be one has itself as its value."""
    values: dict[str, object] = {each[1:]: each[1:] for each in lex(sql) if each[0] in ":$" and name(each)}
    try:
        query = named(sql, values)
    except LocalProtocolError as error:  # a slice
        query = named(sql, {each: values[each] for each in values if repr(each) not in str(error)})
    return query.sql, query.args


def name(token: str) -> bool:
    """A placeholder, if it is not in a subscript."""
    return re.fullmatch(r"[:$][A-Za-z_\x80-\U0010ffff][A-Za-z_0-9\x80-\U0010ffff]*", token) is not None


@pytest.mark.parametrize(
    ("sql", "expected", "args"),
    [
        ("select :a", "select $1", ("a",)),
        ("select $a, $b", "select $1, $2", ("a", "b")),
        ("select :b, $a, :b", "select $1, $2, $1", ("b", "a")),
        ("select :a::int4, :b :: text", "select $1::int4, $2 :: text", ("a", "b")),
        ("select:a", "select $1", ("a",)),
        ("select 1:a", "select 1 $1", ("a",)),
        ("select :a:b", "select $1 $2", ("a", "b")),
        ("select :a$tag$ :b $tag$", "select $1 $tag$ :b $tag$", ("a",)),
        ("x=:a and y=-:b", "x=$1 and y=-$2", ("a", "b")),
        ("x := :a", "x := $1", ("a",)),
        ("f(x:=:a)", "f(x:=$1)", ("a",)),
        ("x @> :a and x ?| :b", "x @> $1 and x ?| $2", ("a", "b")),
        ("select ':a', :a", "select ':a', $1", ("a",)),
        ("select 'it''s :a', :a", "select 'it''s :a', $1", ("a",)),
        (r"select '\', :a", r"select '\', $1", ("a",)),
        (r"select E'\':b', :a", r"select E'\':b', $1", ("a",)),
        (r"select e'\\', :a", r"select e'\\', $1", ("a",)),
        ("select E'x' -- it's\n  '\\':b', :a", "select E'x' -- it's\n  '\\':b', $1", ("a",)),
        (r"select E'x' '\', :a", r"select E'x' '\', $1", ("a",)),
        (r"select nameE'\', :a", r"select nameE'\', $1", ("a",)),
        ("select U&'\\0041:b', B'01', :a", "select U&'\\0041:b', B'01', $1", ("a",)),
        ('select ":b", U&":b", """:b", :a', 'select ":b", U&":b", """:b", $1', ("a",)),
        ("select $$ :b $$, :a", "select $$ :b $$, $1", ("a",)),
        ("select $x$ :b $$ $y$ $x$, :a", "select $x$ :b $$ $y$ $x$, $1", ("a",)),
        ("select $b$ :b $b$, :a", "select $b$ :b $b$, $1", ("a",)),
        ("select name$a, :a", "select name$a, $1", ("a",)),
        ("select é$a, :a", "select é$a, $1", ("a",)),
        ("select :a -- :b\n, :n", "select $1 -- :b\n, $2", ("a", "n")),
        ("select :a /* :b /* :b */ :b */, :n", "select $1 /* :b /* :b */ :b */, $2", ("a", "n")),
        ("select x[1:2], x[:n], x[1 :n], x[lo:n], :a", "select x[1:2], x[:n], x[1 :n], x[lo:n], $1", ("a",)),
        ("select x[$n], x[(:n)], x[f(:n):b]", "select x[$1], x[($1)], x[f($1):b]", ("n",)),
        ("select array[:a, :b], ARRAY[[:a], [:b]]", "select array[$1, $2], ARRAY[[$1], [$2]]", ("a", "b")),
        ("select array[x[:n], :a], (x)[:n]", "select array[x[:n], $1], (x)[:n]", ("a",)),
        ("select array/**/[:a]", "select array/**/[$1]", ("a",)),
        ('select "array"[:a], :b', 'select "array"[:a], $1', ("b",)),
        ("select ) ] :a", "select ) ] $1", ("a",)),
        ("select : a, :1, :", "select : a, :1, :", ()),
        ("select ':a", "select ':a", ()),
        (r"select E'\' :a", r"select E'\' :a", ()),
        ('select ":a', 'select ":a', ()),
        ("select $q$ :a", "select $q$ :a", ()),
        ("select /* :a", "select /* :a", ()),
        ("", "", ()),
    ],
)
def test_what_is_replaced(sql: str, expected: str, args: tuple[object, ...]) -> None:
    assert rewritten(sql) == (expected, args)


def test_names_of_all_kinds() -> None:
    query = named("select :Ä, :_x1, :select, :query", {"Ä": 1, "_x1": 2}, select=3, query=4)
    assert (query.sql, query.args) == ("select $1, $2, $3, $4", (1, 2, 3, 4))
    assert repr(query) == "<NamedQuery 'select $1, $2, $3, $4'>"


@pytest.mark.parametrize(
    ("sql", "values", "text"),
    [
        ("select :x, :y, :x", {}, "no value for 'x', 'y'"),
        ("select :x", {"x": 1, "y": 2, "z": 3}, "the text has no parameter 'y', 'z'"),
        ("select :x", {"y": 2}, "no value for 'x'; the text has no parameter 'y'"),
        (
            "select v[:x]",
            {"x": 1},
            "the text has no parameter 'x'; in a subscript :x is a slice: write $x",
        ),
        ("select ':x'", {"x": 1}, "the text has no parameter 'x'"),
        ("select :x, $1", {"x": 1}, "$1 beside names: a query has either"),
        ("select $12", {}, "$12 beside names: a query has either"),
        ("select \0", {}, "the SQL text cannot be sent: it contains a NUL character"),
        ("select '\0'", {}, "an interpolation (or a NUL) is in quotes or a comment"),
    ],
)
def test_what_is_refused(sql: str, values: dict[str, object], text: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        named(sql, values)
    assert str(caught.value) == text
    assert caught.value.outcome is Outcome.NOT_SENT


def test_one_value_for_a_name() -> None:
    with pytest.raises(LocalProtocolError, match="two values for 'x'"):
        named("select :x", {"x": 1}, x=2)
    with pytest.raises(TypeError, match="the query must be a str, not int"):
        named(1)


def test_a_named_query_is_a_query() -> None:
    item = as_item(named("select :a", a=7), ())
    assert (item.sql, item.args) == ("select $1", (7,))
    batch = Batch()
    assert batch.queue(named("select :a", a=7), into=int).args == (7,)
    with pytest.raises(TypeError, match="named"):
        batch.queue(named("select :a", a=7), 8)


# ---- Template strings of Python 3.14


def template(*parts: Any, conversion: str | None = None, format_spec: str = "") -> Any:
    """t"..." as it is there: texts, and values between them."""
    values = [
        SimpleNamespace(value=each, conversion=conversion, format_spec=format_spec) for each in parts[1::2]
    ]
    return SimpleNamespace(strings=parts[::2], interpolations=tuple(values))


def test_template_strings() -> None:
    query = named(template("select ", 7, "::int, x", "y", "", 8, "9, v[:n], $$ :a $$"))
    assert (query.sql, query.args) == ("select $1::int, x $2 $3 9, v[:n], $$ :a $$", (7, "y", 8))
    query = named(template("select :a, ", 7, ", :a"), a=5)  # both
    assert (query.sql, query.args) == ("select $1, $2, $1", (5, 7))
    assert named(template("select 1")).args == ()


@pytest.mark.parametrize("around", ["'|'", "E'\\|'", '"|"', "$$|$$", "/*|*/", "--|", "'|"])
def test_an_interpolation_in_quotes_is_refused(around: str) -> None:
    before, after = around.split("|")
    with pytest.raises(LocalProtocolError, match="is in quotes or a comment"):
        named(template(f"select {before}", "x", f"{after}\n, 1"))


def test_what_else_is_refused_of_a_template() -> None:
    with pytest.raises(LocalProtocolError, match="no value for 'a'"):
        named(template("select :a, ", 1, ""))
    for options in ({"conversion": "r"}, {"format_spec": ">10"}):
        with pytest.raises(LocalProtocolError, match="no conversion and no format"):
            named(template("select ", 1, "", **options))
    with pytest.raises(LocalProtocolError, match="NUL"):
        named(template("select \0, ", 1, ""))
    with pytest.raises(TypeError, match="a part of the template must be a str"):
        named(SimpleNamespace(strings=(1,), interpolations=()))


# ---- Any text: a second lexer, written otherwise, sees the same tokens


def lex(sql: str) -> list[str]:
    """The tokens of a text without blanks and comments: one character after the other."""
    tokens: list[str] = []
    at = 0

    def name_at(index: int) -> bool:
        return index < len(sql) and (sql[index].isalnum() or sql[index] == "_" or sql[index] > "\x7f")

    def start_at(index: int) -> bool:
        return name_at(index) and not (sql[index].isascii() and sql[index].isdigit())

    def quoted(index: int, escapes: bool) -> int:
        """The index after a quoted token whose quote is at `index`."""
        quote = sql[index]
        index += 1
        while index < len(sql):
            if escapes and sql[index] == "\\":
                index += 2
            elif sql[index] == quote:
                if sql[index + 1 : index + 2] != quote:
                    return index + 1
                index += 2
            else:
                index += 1
        return len(sql)

    def gap(index: int) -> tuple[int, bool]:
        """The index after blanks and line comments, and whether there was a newline."""
        newline = False
        while index < len(sql):
            if sql[index] in " \t\n\r\f\v":
                newline = newline or sql[index] in "\n\r"
                index += 1
            elif sql.startswith("--", index):
                while index < len(sql) and sql[index] not in "\n\r":
                    index += 1
            else:
                break
        return index, newline

    while at < len(sql):
        begin = at
        at, _ = gap(at)
        if at > begin:
            continue
        if sql.startswith("/*", at):
            depth = 1
            at += 2
            while at < len(sql) and depth:
                if sql.startswith("/*", at):
                    depth, at = depth + 1, at + 2
                elif sql.startswith("*/", at):
                    depth, at = depth - 1, at + 2
                else:
                    at += 1
            continue
        if sql[at] in "'\"":
            at = quoted(at, False)
        elif sql[at] in "eE" and sql[at + 1 : at + 2] == "'":
            at = quoted(at + 1, True)
            while True:
                after, newline = gap(at)
                if not newline or sql[after : after + 1] != "'":
                    break
                at = quoted(after, True)
        elif start_at(at):
            while name_at(at) or sql[at : at + 1] == "$":
                at += 1
        elif sql[at] == "$":
            at += 1
            if sql[at : at + 1].isdigit():
                while sql[at : at + 1].isdigit():
                    at += 1
            else:
                while start_at(at) or (name_at(at) and at > begin + 1):
                    at += 1
                if sql[at : at + 1] == "$":
                    delimiter = sql[begin : at + 1]
                    end = sql.find(delimiter, at + 1)
                    at = len(sql) if end < 0 else end + len(delimiter)
        elif sql[at] == ":" and sql[at + 1 : at + 2] in (":", "="):
            at += 2
        elif sql[at] == ":" and start_at(at + 1):
            at += 1
            while name_at(at):
                at += 1
        elif name_at(at):
            while name_at(at):
                at += 1
        else:
            at += 1
        tokens.append(sql[begin:at])
    return tokens


PIECES = [
    *(":a", "$a", ":b", "$n", ":n", "::", ":=", ":", "=", "@>", "?", "-", "--", "/*", "*/", "/", "*"),
    *("'", "''", "'x'", "E'", "e'\\'", "\\", '"', '"a"', "$$", "$q$", "$b$", "x", "E", "U&'", "1", "é", "$"),
    *("[", "]", "(", ")", "array", ",", " ", "\n", "\t", "--c\n", "/* c */", ".", ";", "1.5e3", "x$a"),
]


@settings(deadline=None, derandomize=True, max_examples=3000)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_the_rest_lexes_the_same(sql: str) -> None:
    tokens = lex(sql)
    if any(token[0] == "$" and token[1:].isdigit() for token in tokens):
        with pytest.raises(LocalProtocolError):
            named(sql)
        return
    found, args = rewritten(sql)
    names = {f"${number + 1}": each for number, each in enumerate(args)}
    after = lex(found)
    assert len(after) == len(tokens)
    for new, old in zip(after, tokens, strict=True):
        assert old == new or (new in names and old in (f":{names[new]}", f"${names[new]}"))
    assert not any(each[0] == "$" and name(each) for each in after)
    if "[" not in tokens:
        assert not any(name(each) for each in after)
