"""`pgproto_psycopg` answers as psycopg's C implementation: every method in every state, and conversations.

One process has one implementation, so both run as programs, each on a database of its own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer

pytest.importorskip("psycopg")
pytest.importorskip("psycopg_binary")

from .names import CONVERSATIONS, STATES

ROOT = Path(__file__).parents[2]
IMPLEMENTATIONS = ("pgproto", "binary")

# What differs on purpose, and why.
READ_AHEAD = "one message is read ahead of its turn, so a trace that begins or ends there has one line less"
NEVER_ASKED = "options that are wrong are found before the first address is looked up"
DIFFERENT = {
    ("in state answered", "trace"): READ_AHEAD,
    ("in state taken", "trace"): READ_AHEAD,
    ("in state copy_out", "trace"): READ_AHEAD,
    ("refusals", "a bad timeout: error"): NEVER_ASKED,
    ("refusals", "a bad timeout: hostaddr"): NEVER_ASKED,
    ("refusals", "too many ports: db"): "libpq stops in the middle of its options",
    ("refusals", "gssencmode: error"): "there is no GSSAPI here",
}

# Over TLS the last words, close_notify and the end can be read at once.
STATES_OVER_TLS = ("killed", "lost")

Answers = dict[str, list[tuple[str, object]]]


def program(implementation: str, dsn: str, names: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-m", "tests.psycopg.answers", implementation, dsn, *names]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # the roots of pytest's configuration
    return subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def answers(server: PostgresServer, dsn: str, names: list[str]) -> dict[str, Answers]:
    """The answers of both implementations."""
    running = {}
    for implementation in IMPLEMENTATIONS:
        database = f"answers_{implementation}"
        server.query(f"drop database if exists {database}")
        server.query(f"create database {database} template template0 encoding 'UTF8'")
        running[implementation] = program(implementation, dsn.format(database=database), names)
    found = {}
    for implementation, process in running.items():
        out, errors = process.communicate(timeout=110)
        assert process.returncode == 0, errors
        # The handler that fails is logged; nothing else may be said, not even by a destructor.
        said = [line for line in errors.splitlines() if "Warning" in line or "ignored" in line]
        assert not said, errors
        found[implementation] = json.loads(out)
    for database in running:
        server.query(f"drop database answers_{database} with (force)")
    return found


def check(found: dict[str, Answers], name: str) -> None:
    ours, theirs = (found[implementation][name] for implementation in IMPLEMENTATIONS)
    assert [label for label, _ in ours] == [label for label, _ in theirs]
    differences = [
        f"{label}\n  pgproto: {one}\n  libpq:   {other}"
        for (label, one), (_, other) in zip(ours, theirs, strict=True)
        if normal(one) != normal(other) and (name, label) not in DIFFERENT
    ]
    assert not differences, "\n".join(differences)
    assert len(theirs) > 2


# libpq says it in other words over TLS; we do not.
LOST = re.compile(
    r"server closed the connection unexpectedly\\+n\\+tThis probably means the server terminated abnormally"
    r"\\+n\\+tbefore or while processing the request\.|SSL connection has been closed unexpectedly"
)


def normal(answer: object) -> object:
    """Without the name of the database, which differs, and with one text for a lost connection."""
    return re.sub("answers_(pgproto|binary)", "DATABASE", LOST.sub("LOST", json.dumps(answer)))


def conninfo(server: PostgresServer, **more: str) -> str:
    where = f"host=127.0.0.1 port={server.port} user=postgres dbname={{database}}"
    return " ".join([where, *(f"{name}={value}" for name, value in more.items())])


@pytest.fixture(scope="module")
def in_states(pg18: PostgresServer) -> dict[str, Answers]:
    return answers(pg18, conninfo(pg18), [f"in state {name}" for name in STATES])


@pytest.fixture(scope="module")
def in_conversations(pg18: PostgresServer) -> dict[str, Answers]:
    return answers(pg18, conninfo(pg18), list(CONVERSATIONS))


@pytest.fixture(scope="module")
def over_tls(pg15: PostgresServer) -> dict[str, Answers]:
    names = [*CONVERSATIONS, *(f"in state {name}" for name in STATES_OVER_TLS)]
    return answers(pg15, conninfo(pg15, sslmode="require"), names)


@pytest.mark.parametrize("name", STATES)
def test_every_method_in_the_state(in_states: dict[str, Answers], name: str) -> None:
    check(in_states, f"in state {name}")


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversation(in_conversations: dict[str, Answers], name: str) -> None:
    check(in_conversations, name)


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversation_over_tls(over_tls: dict[str, Answers], name: str) -> None:
    check(over_tls, name)


@pytest.mark.parametrize("name", STATES_OVER_TLS)
def test_every_method_in_the_state_over_tls(over_tls: dict[str, Answers], name: str) -> None:
    check(over_tls, f"in state {name}")


def test_the_names_are_those_of_the_scenarios() -> None:
    code = "from tests.psycopg.scenarios import SCENARIOS; print('\\n'.join(SCENARIOS))"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert told.stdout.splitlines() == [*(f"in state {name}" for name in STATES), *CONVERSATIONS]
