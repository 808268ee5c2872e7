"""What an implementation of `psycopg.pq` answers, written down so that two can be compared."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from psycopg import pq
from psycopg.pq.misc import connection_summary

# What differs from process to process.
_CHANGING = re.compile(
    r"0x[0-9a-f]{6,}|PID \d+|pg_temp_\d+|pgproto_psycopg\.\w+|psycopg_binary\.\w+|psycopg_c\.\w+"
)

FIELDS = [field for field in pq.DiagnosticField if field.name not in ("SOURCE_LINE",)]


def shown(value: object) -> object:
    """A value as something that JSON has, without what differs from process to process."""
    if isinstance(value, pq.PGresult):
        return result(value)
    if isinstance(value, memoryview):
        return _CHANGING.sub("#", repr(bytes(value)))
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [shown(each) for each in value]
    if isinstance(value, list):
        return [shown(each) for each in value]
    if isinstance(value, int):
        return int(value)
    if isinstance(value, pq.PGcancel | pq.PGcancelConn):
        return type(value).__name__
    return _CHANGING.sub("#", repr(value))


def result(value: Any) -> dict[str, object]:
    """All that a PGresult tells."""
    columns, rows = range(-1, value.nfields + 1), range(-1, value.ntuples + 1)
    return {
        "status": int(value.status),
        "error": shown(value.error_message),
        "text": shown(value.get_error_message()),
        "fields": {field.name: shown(value.error_field(field)) for field in FIELDS},
        "ntuples": value.ntuples,
        "nfields": value.nfields,
        "columns": [
            [
                shown(value.fname(index)),
                # Tables and types of a user's own have OIDs that differ.
                min(value.ftable(index), 16384),
                value.ftablecol(index),
                value.fformat(index),
                min(value.ftype(index), 16384),
                value.fmod(index),
                value.fsize(index),
            ]
            for index in columns
        ],
        "binary": value.binary_tuples,
        "values": [[shown(value.get_value(row, column)) for column in columns] for row in rows],
        "parameters": [value.param_type(index) for index in range(-1, value.nparams + 1)],
        "tag": shown(value.command_status),
        "tuples": value.command_tuples,
        "oid": value.oid_value,
        "repr": _CHANGING.sub("#", repr(value)),
    }


class Recorder:
    """Calls, and writes down what came of it."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, object]] = []

    def __call__(self, label: str, function: Callable[..., object], *args: object) -> Any:
        """Call a function; its value or exception is written down, and the value returned."""
        try:
            value = function(*args)
        except Exception as error:
            self.answers.append((label, f"{type(error).__name__}: {_CHANGING.sub('#', str(error))}"))
            return None
        self.answers.append((label, shown(value)))
        return value

    def state(self, label: str, conn: Any) -> None:
        """What a connection tells about itself."""
        self(f"{label}: status", lambda: conn.status)
        self(f"{label}: transaction", lambda: conn.transaction_status)
        self(f"{label}: pipeline", lambda: conn.pipeline_status)
        self(f"{label}: error", lambda: conn.error_message)

    def drain(self, label: str, conn: Any, most: int = 8) -> None:
        """The results that are owed."""
        nones = 0
        for number in range(most):
            if self(f"{label}: result {number}", conn.get_result) is None:
                nones += 1
            if nones == 3:
                return


def summary(conn: Any) -> str:
    """The connection as `repr` shows it."""
    return connection_summary(conn)
