"""Errors: what a PostgresError tells, field by field, and where a lost connection's SQLSTATE comes from."""

from __future__ import annotations

import pytest

from pgproto import ConnectError, ConnectionLost, Outcome, PostgresError
from pgproto.errors import ConnectionClosed
from pgproto.sqlstates import UniqueViolation

FIELDS = {
    "S": "FEHLER",
    "V": "ERROR",
    "C": "23505",
    "M": "duplicate key",
    "D": "Key (id)=(1) already exists.",
    "H": "Choose another.",
    "P": "15",
    "q": "select internal",
    "W": "PL/pgSQL function f() line 1",
    "s": "public",
    "t": "things",
    "c": "id",
    "d": "int4",
    "n": "things_pkey",
}


def test_every_field_has_a_name() -> None:
    error = PostgresError.of(FIELDS)
    assert type(error) is UniqueViolation
    assert (error.severity, error.sqlstate, error.message) == ("ERROR", "23505", "duplicate key")
    assert (error.detail, error.hint) == (FIELDS["D"], FIELDS["H"])
    assert (error.position, error.internal_query, error.where) == (15, FIELDS["q"], FIELDS["W"])
    assert (error.schema_name, error.table_name, error.column_name) == ("public", "things", "id")
    assert (error.data_type_name, error.constraint_name) == ("int4", "things_pkey")
    assert str(error) == (
        "ERROR 23505: duplicate key\nDETAIL: Key (id)=(1) already exists.\nHINT: Choose another."
    )


def test_fields_that_are_missing() -> None:
    error = PostgresError.of({})
    assert type(error) is PostgresError
    assert (error.severity, error.sqlstate, error.message, error.fatal) == ("ERROR", "", "", False)
    assert error.detail is error.hint is error.internal_query is error.where is None
    assert error.schema_name is error.table_name is error.column_name is None
    assert error.data_type_name is error.constraint_name is None
    assert error.position is None
    assert str(error) == "ERROR :"


@pytest.mark.parametrize("text", ["", "x", "-1", "1" * 12, "٣"])
def test_a_position_that_is_none(text: str) -> None:
    assert PostgresError.of({"P": text}).position is None


@pytest.mark.parametrize(
    ("code", "name"), [("23505", "UniqueViolation"), ("23ZZZ", "IntegrityConstraintViolation")]
)
def test_the_class_of_an_unknown_sqlstate_is_that_of_its_class(code: str, name: str) -> None:
    assert type(PostgresError.of({"C": code})).__name__ == name


def test_a_subclass_without_a_sqlstate_is_found_by_none() -> None:
    known = dict(PostgresError.by_sqlstate)

    class Mine(PostgresError):
        """An application's own."""

    assert PostgresError.by_sqlstate == known
    assert Mine({"C": "23505"}).sqlstate == "23505"


def test_the_sqlstate_of_a_failed_connect_is_the_last_servers() -> None:
    answers = [PostgresError.of({"C": "57P03"}), PostgresError.of({"C": "53300"}), OSError("refused")]
    error = ConnectError("no connection", answers)
    assert error.sqlstate == "53300"
    assert error.outcome is Outcome.NOT_SENT
    assert ConnectError("no connection", [OSError("refused")]).sqlstate == ""


def test_the_sqlstate_of_a_lost_connection_is_that_of_the_last_words() -> None:
    error = ConnectionLost("lost")
    assert error.sqlstate == ""
    error.also = [OSError(), PostgresError.of({"C": "57P02"})]
    assert error.sqlstate == "57P02"
    error.__cause__ = PostgresError.of({"C": "57P01"})
    assert error.sqlstate == "57P01"
    assert ConnectionClosed("closed").outcome is Outcome.NOT_SENT
