"""The three questions that are asked of a statement's text; in doubt the answer promises less."""

from __future__ import annotations

import pytest

from pgproto import LocalProtocolError, Outcome
from pgproto.session.sql import (
    check_sql,
    describes_late,
    first_words,
    is_plain,
    leaves_no_trace,
    quote_identifier,
)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("select 1", ("select", "")),
        ("SELECT a", ("select", "a")),
        ("  -- a comment\n /* and * another */ Insert  into t", ("insert", "into")),
        ("/**/with x", ("with", "x")),
        ("", ("", "")),
        ("(select 1)", ("", "")),
        ("-- nothing else", ("", "")),
        ("/* nested /* block */ */ select 1", ("", "")),
    ],
)
def test_first_words(sql: str, words: tuple[str, str]) -> None:
    assert first_words(sql) == words


@pytest.mark.parametrize(
    "sql", ["select 1", "insert into t values (1)", "create table t ()", "", "   ", "set x = 1"]
)
def test_plain(sql: str) -> None:
    assert is_plain(sql)


@pytest.mark.parametrize(
    "sql",
    [
        *("commit", "ROLLBACK", "/* x */ end", "begin", "vacuum t", "call p()", "do $$ $$", "discard all"),
        *("create database d", "CREATE INDEX i on t (a)", "drop  database d", "alter system set x = 1"),
        *("(select 1)", "/* nested /* */ */ commit", "; commit"),
    ],
)
def test_not_plain(sql: str) -> None:
    assert not is_plain(sql)


def test_late() -> None:
    assert describes_late("fetch 1 from c")
    assert describes_late("EXPLAIN select 1")
    assert not describes_late("select 1")


@pytest.mark.parametrize(
    "sql",
    [
        *(
            "select 1",
            "insert into t values ($1) returning now()",
            "update t set a = coalesce(b, 1)",
            "begin",
        ),
        *("select count(*) from t where a in (1, 2);", "with x as (select 1) select * from x"),
    ],
)
def test_no_trace(sql: str) -> None:
    assert leaves_no_trace(sql)


@pytest.mark.parametrize(
    "sql",
    [
        *(
            "set x = 1",
            "listen jobs",
            "select set_config('a', 'b', false)",
            "select pg_advisory_lock(1)",
            "prepare p",
        ),
        *(
            "select f()",
            "select 1; set x = 1",
            "create temp table t ()",
            "select * into temp t from u",
            "declare c",
        ),
        *("select my.lower(a)", 'select "F"(1)', "", "unknown"),
    ],
)
def test_a_trace(sql: str) -> None:
    assert not leaves_no_trace(sql)


def test_identifiers() -> None:
    assert quote_identifier('a"b') == '"a""b"'
    with pytest.raises(ValueError, match="NUL"):
        quote_identifier("a\0b")


@pytest.mark.parametrize("sql", ["a\0b", "\ud800"])
def test_a_text_that_no_message_can_carry(sql: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        check_sql(sql)
    assert caught.value.outcome is Outcome.NOT_SENT


def test_a_text_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    check_sql("x" * 100)
    check_sql("ü" * 100)
    with pytest.raises(LocalProtocolError, match="it has 1073676289 bytes"):
        check_sql("x" * (0x3FFFFFFE - 65536 + 3))
