"""After DDL a session describes its statements again, or the server would keep the old parameter types."""

from __future__ import annotations

import pytest

from pgproto.session import Prepare, Script
from pgproto.session.sql import alters
from pgproto.wire import Parse
from tests.support.backend import Answer, error_fields, ok
from tests.support.pair import Pair
from tests.support.queries import batch, query

ALTER, CREATE = "alter table t alter v type float8", "create temp table if not exists t (other int)"
SCRIPT = {
    "insert into t": ok(),
    "insert into other": ok(),
    ALTER: ok("ALTER TABLE"),
    CREATE: ok("CREATE TABLE"),
    "DROP SCHEMA x": ok("DROP SCHEMA"),
    "BEGIN": Answer("BEGIN"),
    "ROLLBACK": Answer("ROLLBACK"),
    "COMMIT": Answer("COMMIT"),
    "fails COMMIT": Answer("COMMIT", error=error_fields("23505")),
    "ROLLBACK TO s": Answer("ROLLBACK"),
}


def parsed(pair: Pair, *texts: str) -> list[str]:
    """Which of these are parsed when they are run now."""
    pair.backend.heard.clear()
    for text in texts:
        assert pair.run(query(text)).error is None
    return [each.query for each in pair.backend.heard if isinstance(each, Parse)]


BOTH = ("insert into t", "insert into other")


@pytest.mark.parametrize(
    ("sql", "anew"),
    [(ALTER, BOTH), ("DROP SCHEMA x", BOTH), (CREATE, ("insert into t",)), (f"{CREATE}; {CREATE}", BOTH)],
)
@pytest.mark.parametrize("script", [False, True])
def test_learned_anew(sql: str, anew: tuple[str, ...], script: bool) -> None:
    pair = Pair(SCRIPT)
    assert parsed(pair, *BOTH) == list(BOTH)
    assert parsed(pair, *BOTH) == []
    operation = Script(sql) if script or ";" in sql else query(sql)
    assert pair.run(operation).error is None
    assert parsed(pair, *BOTH) == list(anew)
    assert parsed(pair, *BOTH) == []


def test_one_that_is_kept() -> None:
    pair = Pair(SCRIPT)
    statement = pair.run(Prepare(pair.engine.prepare("insert into t"))).statement
    name = statement.name
    pair.run(Script(ALTER))
    assert statement.name != name
    assert pair.run(batch("insert into other")).error is None
    assert not statement.declared


@pytest.mark.parametrize(
    ("end", "anew"),
    [("ROLLBACK", list(BOTH)), ("ROLLBACK TO s", list(BOTH)), ("fails COMMIT", list(BOTH)), ("COMMIT", [])],
)
def test_in_a_transaction(end: str, anew: list[str]) -> None:
    """What was learned after it is undone with it."""
    pair = Pair(SCRIPT)
    pair.run(Script("BEGIN"))
    pair.run(Script(ALTER))
    assert parsed(pair, *BOTH) == list(BOTH)
    pair.run(Script(end))
    assert parsed(pair, *BOTH) == anew
    pair.run(Script("COMMIT" if " TO " in end else "BEGIN"))
    pair.run(Script("ROLLBACK"))
    assert parsed(pair, *BOTH) == []


@pytest.mark.parametrize(
    ("tag", "sql", "names"),
    [
        ("ALTER TABLE", "alter table t add c int", None),
        ("CREATE TABLE", "create table s.T (a int)", {"s", "t"}),
        ("CREATE TABLE", 'create table "T" (a int);', {"t"}),
        ("CREATE TABLE", "create table t as select 1 as other", {"t", "other", "1"}),
        ("DROP TABLE", "drop table if exists a, b cascade", {"a", "b"}),
        ("DROP TABLE", "drop table a; select b", {"a", "b"}),
        ("DROP TABLE", "drop table a 'open", None),
    ],
)
def test_what_was_altered(tag: str, sql: str, names: set[str] | None) -> None:
    assert alters(tag, sql) == names
