"""The DB-API 2.0 compliance suite, once for each style of parameters."""

from __future__ import annotations

import unittest
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pgproto_blocking import dbapi
from pgproto_blocking.dbapi.styles import Style

TEXT = (Path(__file__).parent / "dbapi20.txt").read_text()
STYLES: tuple[Style, ...] = ("numeric_dollar", "format", "pyformat")


def suite(style: Style) -> type[Any]:
    """The suite's class.

    Its list of styles is PEP 249's, which has `:1` for "numeric", and no `$1`: that one is put in its place.
    """
    text = TEXT.replace("'numeric'", "'numeric_dollar'").replace("(:1)", "($1)")
    module = ModuleType("dbapi20")
    exec(compile(text, "dbapi20.txt", "exec"), module.__dict__)
    driver = SimpleNamespace(**vars(dbapi))
    driver.paramstyle = style
    driver.opened = []

    def connect(dsn: str) -> dbapi.Connection:
        connection = dbapi.connect(dsn, paramstyle=style)
        driver.opened.append(connection)  # one test leaves its connection open
        return connection

    driver.connect = connect
    made: type[Any] = type(
        f"Compliance_{style}",
        (module.__dict__["DatabaseAPI20Test"],),
        {
            "driver": driver,
            "failUnless": unittest.TestCase.assertTrue,  # its name until Python 3.12
            "test_nextset": nextset,
            "test_setoutputsize": setoutputsize,
        },
    )
    return made


def nextset(self: Any) -> None:
    """The suite leaves it to the driver; its example is a procedure with two results."""
    with self._connect() as connection, connection.cursor() as cursor:
        cursor.execute("select 1 as one, 2; select 'x' as letter where false; select 3")
        assert [column[0] for column in cursor.description] == ["one", "?column?"]
        assert cursor.fetchall() == [("1", "2")]
        assert cursor.nextset()
        assert cursor.description[0][:2] == ("letter", 25)
        assert cursor.fetchall() == []
        assert cursor.nextset()
        assert cursor.fetchone() == ("3",)
        assert cursor.nextset() is None
        assert cursor.description is None
        with pytest.raises(dbapi.ProgrammingError):
            cursor.fetchone()


def setoutputsize(self: Any) -> None:
    """The suite leaves it to the driver: it has no effect."""
    with self._connect() as connection, connection.cursor() as cursor:
        cursor.setoutputsize(1)
        cursor.execute("select 'long'")
        assert cursor.fetchone() == ("long",)


def names() -> list[str]:
    return sorted(name for name in dir(suite("format")) if name.startswith("test"))


def test_the_suite_has_its_tests() -> None:
    assert len(names()) == 35


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", names())
def test_compliance(dsn: str, style: Style, name: str) -> None:
    kind = suite(style)
    kind.connect_args = (dsn,)
    result = unittest.TestResult()
    kind(name).run(result)
    for connection in kind.driver.opened:
        connection.close()
    assert result.testsRun == 1
    assert result.skipped == []
    assert [text for _, text in result.failures + result.errors] == []
