"""Statements and their cache, without a connection."""

from __future__ import annotations

from pgproto.session import Statement
from pgproto.session import statements as st
from pgproto.session.statements import StatementCache
from pgproto.wire import FieldDescription

INT4 = FieldDescription("n", 0, 0, 23, 4, -1)
ENUM = FieldDescription("e", 0, 0, 99999, 4, -1)


def prepared(cache: StatementCache, sql: str) -> Statement:
    statement = cache.get(sql)
    statement.state = st.READY
    statement.declared = bool(statement.name)
    return statement


def test_names_are_never_used_twice() -> None:
    cache = StatementCache(10, "p_")
    first = prepared(cache, "a")
    assert cache.get("a") is first
    cache.drop(first)
    second = cache.get("a")
    assert (first.name, second.name) == ("p_1", "p_2")
    assert cache.take_closes() == ["p_1"]
    assert cache.take_closes() == []
    assert first.state == st.DROPPED
    cache.close(first)
    assert cache.take_closes() == []


def test_what_was_never_sent_needs_no_close() -> None:
    cache = StatementCache(10, "p_")
    cache.drop(cache.get("a"))
    assert cache.take_closes() == []
    assert len(cache) == 0


def test_the_least_recently_used_goes_first() -> None:
    cache = StatementCache(2, "p_")
    a, _, _ = (prepared(cache, sql) for sql in "abc")
    cache.get("a")
    cache.trim()
    assert cache.take_closes() == ["p_2"]
    assert cache.get("a") is a
    cache.trim()
    assert cache.take_closes() == []


def test_what_is_in_use_stays() -> None:
    cache = StatementCache(0, "p_")
    used, preparing, idle = (prepared(cache, sql) for sql in "abc")
    used.users = 1
    preparing.state = st.PREPARING
    preparing.declared = True
    cache.trim()
    assert cache.take_closes() == [idle.name]
    assert len(cache) == 2


def test_a_name_in_use_is_closed_by_its_last_user() -> None:
    cache = StatementCache(10, "p_")
    statement = prepared(cache, "a")
    statement.users = 2
    cache.drop(statement)
    assert cache.get("a") is not statement
    cache.release(statement)
    assert cache.take_closes() == []
    cache.release(statement)
    assert cache.take_closes() == ["p_1"]
    assert cache.take_closes() == []


def test_a_statement_that_its_caller_closes_in_use_takes_no_new_user() -> None:
    cache = StatementCache(10, "p_")
    kept = Statement("a", cache.new_name(), kept=True)
    kept.state = st.READY
    kept.declared = True
    kept.users = 1
    cache.close(kept)
    assert kept.state == st.DROPPED
    assert cache.take_closes() == []
    cache.release(kept)
    assert cache.take_closes() == ["p_1"]


def test_an_unnamed_statement_has_nothing_to_close() -> None:
    cache = StatementCache(10, "p_", named=False)
    statement = prepared(cache, "a")
    assert statement.name == ""
    cache.drop(statement)
    assert cache.take_closes() == []


def test_kept_statements_survive_errors_but_not_being_closed() -> None:
    cache = StatementCache(10, "p_")
    kept = Statement("a", cache.new_name(), kept=True)
    kept.state = st.READY
    kept.declared = True
    cache.drop(kept)
    assert kept.state == st.READY
    cache.close(kept)
    assert cache.take_closes() == ["p_1"]


def test_a_dropped_statement_does_not_take_its_successor_with_it() -> None:
    cache = StatementCache(10, "p_")
    old = prepared(cache, "a")
    cache.clear()
    assert old.state == st.DROPPED
    new = prepared(cache, "a")
    cache.drop(old)
    assert cache.get("a") is new


def test_descriptions() -> None:
    statement = Statement("select", "s")
    statement.parameters_described((23, 25))
    statement.rows_described((INT4, ENUM))
    assert statement.parameter_types == (23, 25)
    assert statement.columns == ("n", "e")
    assert statement.result_types == (23, 99999)
    assert statement.result_formats == (1, 0)
    assert len(statement.encoder.formats) == 2


def test_a_late_statement_can_be_described_again() -> None:
    statement = Statement("fetch c", "s")
    assert statement.late
    statement.rows_described(())
    first = statement.template()
    statement.rows_described((INT4, ENUM))
    assert statement.columns == ("n", "e")
    assert statement.result_formats == (1, 0)
    assert statement.template() is not first


def test_what_was_dropped_is_closed_when_its_last_user_has_ended() -> None:
    cache = StatementCache(10, "p_")
    statement = Statement("a", cache.new_name(), kept=True)
    statement.state = st.READY
    statement.declared = True
    cache.kept[statement.name] = statement
    statement.users = 1
    cache.dropped.append(statement)
    assert cache.take_closes() == []
    assert (cache.kept, cache.dropped) == ({}, [])
    cache.release(statement)
    assert cache.take_closes() == ["p_1"]
    cache.dropped.append(statement)  # it was closed before
    assert cache.take_closes() == []
