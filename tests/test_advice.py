"""The statement, the line with a caret and the advice on a query's error; none of them is in its text."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from pgproto import DataError, Error, PostgresError
from pgproto.session.advice import annotate, place
from pgproto.types import ParameterEncoder
from tests.support.codecs import type_name


def syntax(position: int, **more: str) -> PostgresError:
    return PostgresError.of({"S": "ERROR", "C": "42601", "M": "oops", "P": str(position), **more})


def test_the_statement_is_put_on_an_error_once_and_stays_out_of_its_text() -> None:
    error = syntax(1)
    annotate(error, "select secret")
    annotate(error, "another")
    assert error.query == "select secret"
    assert "secret" not in f"{error} {error!r}"
    other = Error("x")
    annotate(other, "")
    assert other.query is None
    annotate(ValueError(), "select 1")
    annotate(None, "select 1")
    assert place(1, "run") == "in statement 2 of the batch (run)"


@pytest.mark.holds("S5")
@pytest.mark.parametrize(
    ("sql", "position", "note"),
    [
        ("select %s", 8, "parameters are written $1, $2, ... here, not %s or %(name)s"),
        ("select %(a)s", 8, "parameters are written $1, $2, ... here, not %s or %(name)s"),
        ("select :a", 8, "parameters are written $1, $2, ... here, not :name"),
        ("select ?", 8, "parameters are written $1, $2, ... here, not ?"),
        ("select 1 in $1", 13, "a list is one parameter: write = any($1) instead of in $1"),
        ("select 1 from $1", 15, None),
        ("select select", 8, None),
        ("select", 7, None),
    ],
)
def test_a_way_out_of_a_syntax_error(sql: str, position: int, note: str | None) -> None:
    error = syntax(position)
    annotate(error, sql)
    assert getattr(error, "__notes__", []) == ([] if note is None else [note])


@pytest.mark.holds("S5")
def test_several_statements_at_once() -> None:
    error = PostgresError.of({"C": "42601", "M": "kann nicht", "R": "exec_parse_message"})
    annotate(error, "a; b")
    assert "script()" in error.__notes__[0]
    error = PostgresError.of({"C": "42601", "M": "oops"})
    annotate(error, "select %s")
    assert not hasattr(error, "__notes__")


@pytest.mark.holds("S2")
@pytest.mark.parametrize(
    ("sql", "position", "lines"),
    [
        ("select a", 8, ["LINE 1: select a", "               ^"]),
        ("select\n\ta,\r\n\tb", 14, ["LINE 3:  b", "         ^"]),
        ("select\r\nb", 9, ["LINE 2: b", "        ^"]),
        ("select '語', a", 13, ["LINE 1: select '語', a", "                     ^"]),
        ("select 'e\u0301', a", 14, ["LINE 1: select 'e\u0301', a", "                    ^"]),
        ("select", 7, ["LINE 1: select", "              ^"]),
        ("select", 8, []),
        ("select", 0, []),
        ("x" * 100, 1, ["LINE 1: " + "x" * 60 + "...", "        ^"]),
        ("x" * 100, 100, ["LINE 1: ..." + "x" * 60, " " * 70 + "^"]),
        ("x" * 100, 50, ["LINE 1: ..." + "x" * 60 + "...", " " * 41 + "^"]),
    ],
)
def test_the_line_and_the_caret(sql: str, position: int, lines: list[str]) -> None:
    error = syntax(position)
    annotate(error, sql)
    assert error.report().splitlines() == ["ERROR:  42601: oops", *lines]
    assert syntax(position).report(sql) == error.report()
    unknown = f" at character {position}" if position else ""
    assert syntax(position).report() == f"ERROR:  42601: oops{unknown}"
    assert syntax(position, S="FEHLER").report() == f"FEHLER:  42601: oops{unknown}"


@pytest.mark.holds("S2")
def test_a_report_has_what_psql_shows() -> None:
    error = PostgresError.of(
        {
            "S": "ERROR",
            "C": "22012",
            "M": "division by zero",
            "D": "some detail",
            "H": "a hint",
            "q": "select 1/0",
            "p": "9",
            "W": "PL/pgSQL function f() line 1\nSQL statement",
        }
    )
    error.query = "select f()"
    assert error.report() == (
        "ERROR:  22012: division by zero\nLINE 1: select 1/0\n                ^\nDETAIL:  some detail\n"
        "HINT:  a hint\nQUERY:  select 1/0\nCONTEXT:  PL/pgSQL function f() line 1\nSQL statement"
    )
    assert syntax(1, P="x").report("select") == "ERROR:  42601: oops"


@pytest.mark.holds("S4")
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (
            {"price": Decimal(1)},
            'Decimal at ["price"]: JSON has no such type; convert it, or pass json',
        ),
        ([1, {"a": (None, datetime.now(UTC))}], 'datetime at [1]["a"][1]: JSON has no such type'),
        ({"all": [1, "x"], "id": Decimal(1)}, 'Decimal at ["id"]'),
        ({"id": UUID(int=1)}, 'UUID at ["id"]'),
        ({"s": {1}}, 'set at ["s"]'),
        ({"n": float("nan"), "m": 1.5}, 'nan at ["n"]: JSON has no such number'),
        (Decimal(1), "Decimal at the top"),
        ({1: True, 2.5: "x", None: Decimal(1)}, 'Decimal at ["None"]'),
        ({(1, 2): 3}, "a key of type tuple at the top: JSON has strings there"),
        ({"a": {b"x": 3}}, 'a key of type bytes at ["a"]'),
    ],
)
def test_what_in_a_value_is_no_json(value: object, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        ParameterEncoder([3802]).encode([value])
    text = str(caught.value)
    assert text.startswith("parameter $1 of type jsonb: ")
    assert reason in text
    assert "write $1::jsonb" not in text


@pytest.mark.holds("S4")
def test_a_value_that_refers_to_itself() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(DataError, match=r"of type jsonb: (Circular|nested too deeply)"):
        ParameterEncoder([3802]).encode([value])


@pytest.mark.holds("S4")
def test_types_are_named() -> None:
    names = {3802: "jsonb", 1007: "int4[]", 4451: "int4multirange", 6157: "int8multirange[]", 869: "inet"}
    assert {oid: type_name(oid) for oid in names} == names
    assert type_name(16459) == "with OID 16459"
