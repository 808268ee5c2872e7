"""All of `psycopg.pq.abc` is there: a test compares the names, and type checkers read the functions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("psycopg")

ROOT = Path(__file__).parents[2]

if TYPE_CHECKING:
    from psycopg.pq import abc

    from pgproto_psycopg import pq as ours

    def conn(value: ours.PGconn) -> abc.PGconn:
        return value

    def result(value: ours.PGresult) -> abc.PGresult:
        return value

    def cancel(value: ours.PGcancel) -> abc.PGcancel:
        return value

    def cancel_conn(value: ours.PGcancelConn) -> abc.PGcancelConn:
        return value

    def conninfo(value: ours.Conninfo) -> abc.Conninfo:
        return value


COMPARE = """
import inspect, pgproto_psycopg
pgproto_psycopg.install()
from psycopg.pq import abc
from pgproto_psycopg import pq
for name in ("PGconn", "PGresult", "PGcancel", "PGcancelConn", "Conninfo", "Escaping"):
    for member, asked in vars(getattr(abc, name)).items():
        if member.startswith("__") or member in ("_abc_impl", "_is_protocol", "_is_runtime_protocol"):
            continue
        given = inspect.getattr_static(getattr(pq, name), member, None)
        if given is None:
            print(name, member, "is missing")
        elif isinstance(asked, property) != isinstance(given, property):
            print(name, member, "is no", type(asked).__name__)
        elif inspect.isfunction(asked):
            names = [list(inspect.signature(each).parameters) for each in (asked, given)]
            if names[0] != names[1]:
                print(name, member, *names)
"""


def test_every_member_is_there() -> None:
    environ = {"PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", COMPARE]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
