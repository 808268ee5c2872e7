"""COPY of a query with parameters: what is a parameter, and what it becomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgproto import DataError, LocalProtocolError, Outcome, PostgresError
from pgproto.session import CopyOut, QueuedQuery, Statement
from pgproto.session.copyquery import CopyQuery
from pgproto.session.placeholders import tokens
from pgproto.types import Row
from pgproto.types.row import Columns
from tests.support.backend import Answer, error_fields
from tests.support.pair import Pair

INT4, TEXT = 23, 25
NAMES = [(INT4, "pg_catalog.int4"), (TEXT, "pg_catalog.text")]


def prepared(*oids: int) -> Statement:
    statement = Statement("select", "s")
    statement.parameters_described(oids)
    return statement


def filled(sql: str, args: tuple[object, ...], *oids: int, names: list[tuple[int, str]] | None = None) -> str:
    query = CopyQuery(sql, args)
    assert query.encode(prepared(*oids))
    item = query.names()
    assert item.args == (list(oids),)
    item.rows = [Row(Columns(["oid", "name"]), each) for each in (NAMES if names is None else names)]
    return query.text(item)


@pytest.mark.parametrize(
    ("sql", "inner", "expected"),
    [
        ("copy (select $1) to stdout", "select $1", "copy (select (V)) to stdout"),
        ("COPY(select f($1)+$1)TO STDOUT", "select f($1)+$1", "COPY(select f((V))+(V))TO STDOUT"),
        (
            "/* ( */ copy -- $1 (\n ( select ')', '$1', \"$1)\", $$ $1 ) $$, $1 /* $1 ) */ ) to stdout",
            " select ')', '$1', \"$1)\", $$ $1 ) $$, $1 /* $1 ) */ ",
            "/* ( */ copy -- $1 (\n ( select ')', '$1', \"$1)\", $$ $1 ) $$, (V) /* $1 ) */ ) to stdout",
        ),
        (
            r"copy (select E'\')$1', $1) to stdout",
            r"select E'\')$1', $1",
            r"copy (select E'\')$1', (V)) to stdout",
        ),
        ("copy (select 1) to stdout", "select 1", "copy (select 1) to stdout"),
    ],
)
def test_parameters_become_literals(sql: str, inner: str, expected: str) -> None:
    assert CopyQuery(sql, ("it's \\",)).query == inner
    text = filled(sql, ("it's \\",), TEXT)
    assert text == expected.replace("(V)", "( E'it''s \\\\'::pg_catalog.text)")


def test_values_have_the_types_that_the_server_tells() -> None:
    sql = "copy (select $2, $1, $2) to stdout (format csv)"
    expected = "copy (select (NULL::pg_catalog.text), ('7'::pg_catalog.int4), (NULL::pg_catalog.text))"
    assert filled(sql, (7, None), INT4, TEXT) == f"{expected} to stdout (format csv)"


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "copy",
        "select $1",
        "copy t to stdout",
        "copy t (a) to stdout",
        "copy (select $1",
        "copy (select '$1) to stdout",
        "copy (select 1) to stdout (delimiter $1)",
        "begin; copy (select $1) to stdout",
        "(copy (select $1) to stdout)",
    ],
)
def test_what_takes_no_parameters(sql: str) -> None:
    with pytest.raises(LocalProtocolError, match=r"only COPY \(query\) TO STDOUT takes parameters") as caught:
        CopyOut(sql, (1,))
    assert caught.value.outcome is Outcome.NOT_SENT
    assert caught.value.query == sql


def test_a_text_that_could_be_read_in_two_ways() -> None:
    query = CopyQuery(r"copy (select '\', $1) to stdout", (1,))
    query.check("on")
    for standard in ("off", None):
        with pytest.raises(LocalProtocolError, match="standard_conforming_strings") as caught:
            query.check(standard)
        assert caught.value.outcome is Outcome.NOT_SENT
    CopyQuery("copy (select $1) to stdout", (1,)).check("off")


def test_a_value_that_does_not_fit() -> None:
    query = CopyQuery("copy (select $1) to stdout", ("x",))
    assert not query.encode(prepared(INT4))  # the cache may be out of date
    with pytest.raises(DataError, match=r"parameter \$1 of type int4: expected int, got str") as caught:
        query.encode(prepared(INT4))
    assert caught.value.outcome is Outcome.NOT_SENT
    query = CopyQuery("copy (select $1) to stdout", ("x",))
    assert not query.encode(prepared(INT4))
    with pytest.raises(DataError, match="of type bool"):
        query.encode(prepared(16))
    query = CopyQuery("copy (select $1) to stdout", ("x",))
    assert not query.encode(prepared(INT4))
    assert query.encode(prepared(TEXT))


def test_a_value_that_raises() -> None:
    class Odd(str):
        def __str__(self) -> str:
            raise AssertionError("not called")

    class Broken:
        def __index__(self) -> int:
            raise OSError("its own")

    assert "('odd'::" in filled("copy (select $1) to stdout", (Odd("odd"),), TEXT)
    query = CopyQuery("copy (select $1) to stdout", (Broken(),))
    assert not query.encode(prepared(INT4))
    with pytest.raises(DataError) as caught:
        query.encode(prepared(INT4))
    assert isinstance(caught.value.__cause__, OSError)


def test_the_number_of_values() -> None:
    query = CopyQuery("copy (select $1) to stdout", (1, 2))
    assert not query.encode(prepared(INT4))
    with pytest.raises(DataError, match="takes 1 parameter"):
        query.encode(prepared(INT4))


def test_a_type_that_is_gone() -> None:
    with pytest.raises(DataError, match=r"the type of parameter \$1 is not in the catalog") as caught:
        filled("copy (select $1) to stdout", (1,), INT4, names=[])
    assert caught.value.outcome is Outcome.NOT_SENT


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_no_value_ends_its_literal(value: str) -> None:
    """By the lexer's rules a literal is one token, and its value is what was passed."""
    text = filled("copy (select $1) to stdout", (value,), TEXT)
    literal = text[len("copy (select (") : -len("::pg_catalog.text)) to stdout")].lstrip(" ")
    # What is between two quotes is one token, and so is the next one.
    assert {kind for kind, _ in tokens(literal)} == {"quoted"}
    inner = literal.removeprefix("E")[1:-1].replace("''", "'")
    assert (inner.replace("\\\\", "\\") if literal[0] == "E" else inner) == value


def test_the_text_is_sent_with_the_values() -> None:
    copy = CopyOut("copy (select $1) to stdout", (1,))
    assert copy.query is not None
    copy.with_values("copy (select 1) to stdout")
    assert copy.sql == "copy (select 1) to stdout"
    assert copy.text() == copy.statements()[0] == "copy (select $1) to stdout"
    assert CopyOut("copy t to stdout").query is None
    assert isinstance(copy.query.names(), QueuedQuery)


def test_values_are_not_shown_in_errors() -> None:
    """They may be secrets; and the caller has not written the text that has them."""
    sent = "copy (select ('S3cret'::pg_catalog.text)) to stdout"
    pair = Pair({sent: Answer(error={**error_fields("42601"), "P": "15"})})
    copy = CopyOut("copy (select $1) to stdout", ("S3cret",))
    copy.with_values(sent)
    pair.run(copy)
    error = copy.error
    assert isinstance(error, PostgresError)
    assert (error.query, error.position) == ("copy (select $1) to stdout", None)
    assert "S3cret" not in error.report()
