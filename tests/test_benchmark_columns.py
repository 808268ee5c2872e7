"""The benchmark of columns, small: what is installed here gives the right number of rows."""

from __future__ import annotations

import pytest

from benchmarks import columns
from tests.support.postgres import PostgresServer


def test_it_measures_what_is_installed(pg18: PostgresServer, capsys: pytest.CaptureFixture[str]) -> None:
    with pg18.database() as name:
        columns.main(["--dsn", pg18.dsn(dbname=name), "--rows", "1000", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line[:32].strip() for line in lines] == ["", *columns.CASES]
    shown = {line[:32].strip(): line[32:].split() for line in lines[1:]}
    assert all(float(each) >= 0 for each in shown["read: pgproto fetch"][:3])
    assert all(each[-2:] == ["not", "installed"] or float(each[0]) >= 0 for each in shown.values())


def test_what_failed_and_what_is_missing_is_told() -> None:
    assert columns.table({"x": [{"error": "oops"}], "y": [{"missing": True}]})[1:] == [
        f"{'x':32} oops",
        f"{'y':32} not installed",
    ]
