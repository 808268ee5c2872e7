"""The questions about a statement's text; in doubt the answer promises less."""

from __future__ import annotations

import time

import pytest

from pgproto import LocalProtocolError, Outcome
from pgproto.session.sql import (
    check_sql,
    control_words,
    copies_in,
    describes_late,
    ends_transaction,
    first_words,
    is_plain,
    leaves_no_trace,
    may_commit,
    sets_encoding,
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
        ("/* nested /* block */ */ select 1", ("select", "")),
        ("/* nested /* block */ select 1", ("", "")),
        ("create/**/unique -- x\rindex", ("create", "unique")),
        ("-- x\rcommit\nselect", ("commit", "select")),
    ],
)
def test_first_words(sql: str, words: tuple[str, str]) -> None:
    assert first_words(sql) == words


@pytest.mark.holds("L8")
def test_what_may_commit_while_it_runs() -> None:
    for sql in ("call p()", "DO $$ $$", "; /* ; */ ;; Call p()", "-- call\ndo ''"):
        assert may_commit(sql), sql
    for sql in ("", ";", "select 1; call p()", "(select 1)", "commit", "callous"):
        assert not may_commit(sql), sql


@pytest.mark.holds("L8")
@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("rollback", ["rollback"]),
        (" Rollback;; -- so be it", ["rollback"]),
        ("rollback/**/to--\nsavepoint\tX ; ", ["rollback", "to", "savepoint", "x"]),
        ("-- x\rrollback to a -- \n", ["rollback", "to", "a"]),
        ('savepoint"X"', ["savepoint", "X"]),
        ('release "a""b c"', ["release", 'a"b c']),
        ("commit transaction and no chain", ["commit", "transaction", "and", "no", "chain"]),
        ("savepoint " + "x" * 63, ["savepoint", "x" * 63]),
        ("/* /* */ rollback to a -- */ rollback to b", ["rollback", "to", "b"]),
        ("", []),
        ("savepoint " + "x" * 64, []),
        ('savepoint "' + "\u00f6" * 32 + '"', []),
        ("savepoint \u00f6", []),
        ("savepoint ab\u00f6", []),
        ("savepoint \u212a", []),
        ('savepoint U&"s"', []),
        ('savepoint ""', []),
        ("prepare transaction 'x'", []),
        ("a b c d e f", []),
        ("a" + " b" * 100000, []),
    ],
)
def test_control_words(sql: str, words: list[str]) -> None:
    assert control_words(sql) == words


R, B, S = "ROLLBACK", "BEGIN", "SELECT 1"


@pytest.mark.holds("L11")
@pytest.mark.parametrize(
    ("sql", "tags"),
    [
        ("commit", ["COMMIT"]),
        ("select 1; prepare transaction 'x'", [S, "PREPARE TRANSACTION"]),
        ("rollback", [R]),
        (";rollback", [R]),
        ("rollback and chain -- rollback to savepoint a", [R]),
        ("/* a */rollback/* rollback to x */", [R]),
        ("rollback; begin; -- rollback to a", [R, B]),
        ("rollback; begin; select 'rollback to a'", [R, B, S]),
        ("rollback; begin; select $$rollback to a; $$", [R, B, S]),
        ('rollback to "a;rollback"; rollback; begin', [R, R, B]),
        ("rollback; begin; savepoint a; select 1/0; rollback to a", [R, B, "SAVEPOINT"]),
        ("commit; begin; savepoint a; rollback to a", [R, B, "SAVEPOINT", R]),  # of a failed block
        ("create function f() returns int begin atomic select 1; end; rollback", ["CREATE FUNCTION", R]),
        ("select (1); rollback; rollback to tox", [S, R]),
        ("select case when true then 1 end; rollback", [S, R]),
        (r"select 'it\'s rollback to a", [R]),  # the text cannot be read
        ("rollback to a", [S, R]),  # nor do these belong together
    ],
)
def test_what_has_ended_a_transaction(sql: str, tags: list[str]) -> None:
    assert ends_transaction(sql, tags)


@pytest.mark.holds("L11")
@pytest.mark.parametrize(
    ("sql", "tags"),
    [
        ("rollback to a", [R]),
        (";;rollback /* a /* b */ c */ to a", [R]),
        ("rollback --x\n to a", [R]),
        ("ROLLBACK\tTRANSACTION\fTO\vSAVEPOINT a", [R]),
        ('rollback/**/transaction/**/to"a"', [R]),
        ("rollback to a -- ; rollback", [R]),
        (r"select '\'; rollback to a; select '\'", [S, R, S]),
        ("insert into t values (';', $$;$$, e'\\';'); rollback to a", ["INSERT 0 1", R]),
        ("create rule r as on insert to t do (notify a; notify b); rollback to a", ["CREATE RULE", R]),
        (
            "create function f() returns int begin atomic select case when a then 1 end; select 2; end;;"
            " rollback to a; select 1",
            ["CREATE FUNCTION", R, S],
        ),
        ("commit prepared 'x'", ["COMMIT PREPARED"]),
        ("rollback prepared 'x'", ["ROLLBACK PREPARED"]),
        ("savepoint a; select 1/0; rollback", ["SAVEPOINT"]),
        ("", [""]),
        ("rollback", []),
    ],
)
def test_what_has_ended_no_transaction(sql: str, tags: list[str]) -> None:
    assert not ends_transaction(sql, tags)


@pytest.mark.holds("L11")
def test_where_a_backslash_escapes_in_every_string() -> None:
    sql = r"select 'it\'s; rollback to a'; rollback; begin; select 'x"
    assert ends_transaction(sql, [S, R, B], escapes=True)
    assert ends_transaction(r"select '\'; rollback to a", [S, R], escapes=True)  # in doubt


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
        *(
            "/* /* */ select */ commit",
            "-- x\rcommit\nselect 1",
            "create/**/unique index",
            "alter/* */\ttype t",
        ),
    ],
)
def test_not_plain(sql: str) -> None:
    assert not is_plain(sql)


def test_copy_from_stdin() -> None:
    for sql in ("copy t from stdin", "COPY t(a, b) FROM/**/STDIN (format csv)", 'copy"t" from stdout'):
        assert copies_in(sql), sql
        assert copies_in(f"insert into t values (';'); {sql}; commit"), sql
    for sql in (
        "copy t from 'stdin'",
        "copy t to stdin",
        "copy (select 1 from stdin) to stdout",
        'copy "a from stdin" to stdout',
        "select a from stdin",
        "copy t from program 'x' -- from stdin",
        "copy t from stdin_",
        "copyt from stdin",
        "copy t from stdin where a = '",
    ):
        assert not copies_in(sql), sql


def test_late() -> None:
    assert describes_late("fetch 1 from c")
    assert describes_late("/* it depends */ EXECUTE mine(1)")
    for sql in ("select 1", "explain select 1", "show all", "call p()"):
        assert not describes_late(sql)


@pytest.mark.holds("L5")
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
        *("", " \n", "/* nothing */ -- at all", "select 1;", "select 1; -- done", "select 1; begin"),
        *("select 1 /* pg_advisory_lock(1) */", "/*traceparent='00-f(x)-01'*/ select 1", "select 1 -- f(x)"),
        *("select 'f(x); set role x'", r"select E'it\'s f(x)'", "select 'it''s f(x)'", "select $$f(x)$$"),
        *("select $a$ $b$ f(x) $a$, $1, $2", 'select "a;b", "f" from "T(x)"', "select date'2020-01-01'"),
        *(
            'insert into "t" ("a", "b") values ($1, $2)',
            "INSERT  INTO s.t(a) VALUES (1)",
            "merge into t using u",
        ),
        *("copy t from stdin", 'COPY "s"."t" ("a", "b") FROM STDIN (FORMAT binary)', "copy t(a) to stdout"),
        *("copy (select a from t) to stdout (format csv)", "copy t from stdin with (format csv);"),
    ],
)
def test_no_trace(sql: str) -> None:
    assert leaves_no_trace(sql)


@pytest.mark.holds("L5")
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
            "select 1 as insert into temp t",
            "select 1 as merge into\nTemporary table t",
            "declare c",
        ),
        *("select my.lower(a)", 'select "F"(1)', "unknown", "select my . lower(a)", "select my/**/.lower(a)"),
        *("select pg_advisory_lock/**/(1)", "select pg_advisory_lock --\n (1)", "select f-- x\r(1)"),
        *("select 1 as a into leak", "select 1 into pg_temp.leak", 'insert into "pg_temp".x values (1)'),
        *(
            "select * from pg_temp_3.t",
            "select nextval('s')",
            "select lo_creat(1)",
            "select dblink_open('a')",
        ),
        *("copy (select pg_advisory_lock(99)) to stdout", "copy pg_temp.t from stdin"),
        *(
            "copy t from stdin where f(a)",
            "copy (select * from stdin(1)) to stdout",
            "copy f from stdin; select g(1)",
        ),
        *("select /* /* */ 'a' */ f(1)", "select '/*', f(1), '*/'", "select $a$'$a$, f(1), ''"),
        *(
            r"select E'\'', f(1), E'\''",
            "select 'e''', f(1)",
            "select e'''', f(1), ''",
            "select a$b$, f(1), a$b$",
        ),
        *(
            "select 'unterminated",
            "select $$unterminated",
            'select "unterminated',
            r"select E'unterminated\'",
        ),
        *(r"select 'a\', f(1), 'b'", r"select 'back\slash'", r'select U&"f\0061"(1)', "select u&'a'"),
        *(
            "select \u00e9max(1)",
            "select max\u00a0(1)",
            "select ran\u212a(1)",
            'select "MAX"(1)',
            'select "a ""b"(1)',
        ),
        *("set role x", "set local x = 1", "table pg_temp.t", "update pg_settings set setting = 1"),
    ],
)
def test_a_trace(sql: str) -> None:
    assert not leaves_no_trace(sql)


@pytest.mark.parametrize("sql", ["a\0b", "\ud800"])
def test_a_text_that_no_message_can_carry(sql: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        check_sql(sql)
    assert caught.value.outcome is Outcome.NOT_SENT


@pytest.mark.parametrize(
    "sql",
    [
        *(
            "set client_encoding to latin1",
            "SET CLIENT_ENCODING='Latin1'",
            "set session client_encoding = win1252",
        ),
        *(
            "set local client_encoding to 'SQL_ASCII'",
            'set "client_encoding" to "latin-1"',
            "set names 'latin1'",
        ),
        *("SET LOCAL NAMES $$LATIN1$$", "set session names e'latin1'", "set client_encoding to utf8, latin1"),
        *("set/**/client_encoding--\nto/* utf8 */latin1", "/* a */ ; set\tclient_encoding=\nlatin1 ;"),
        *("begin; set local client_encoding to latin1; select 1; commit", "select ';';set names 'x'"),
        "set client_encoding to utf8; set client_encoding to latin1; reset client_encoding",
        *("set client_encoding to ''", "set client_encoding to 'it''s'", "set client_encoding to 'utf8''x'"),
        *("set client_encoding to 'utf8;'", "set client_encoding to $1", "set names U&'\\0061'"),
        "select set_config('client_encoding', 'latin1', true)",
        """select 1, "pg_catalog"."set_config" ( E'CLIENT_ENCODING' /**/, e'latin1', false)""",
        "select set_config($a$client_encoding$a$, $$latin1$$, false)",
        "select set_config('client_encoding', 'utf8', true), Set_Config('client_encoding','x',true)",
    ],
)
def test_a_text_that_sets_another_client_encoding(sql: str) -> None:
    with pytest.raises(
        LocalProtocolError, match="pgproto speaks UTF8: do not SET another client_encoding"
    ) as caught:
        check_sql(sql)
    assert caught.value.outcome is Outcome.NOT_SENT
    assert caught.value.query == sql


@pytest.mark.parametrize(
    "sql",
    [
        *(
            "set client_encoding to utf8",
            "SET client_encoding = 'UTF-8' ;",
            "set local client_encoding to 'Unicode'",
        ),
        *(
            'set session client_encoding to "utf_8"',
            "set client_encoding to $$utf 8$$ -- latin1",
            "set names 'utf8'",
        ),
        *("set names", "set names ;", "set local names default", "set client_encoding to DEFAULT;"),
        *("reset client_encoding", "show client_encoding", "reset all", "set client_encoding from current"),
        *(
            "select 'set client_encoding to latin1'",
            "-- set names 'latin1'\nselect 1",
            "select 1 /*; set names 'x' */",
        ),
        *(
            "select ';set names x;'",
            "do $$ begin; set names 'latin1'; end $$",
            'select ";set names ""latin1"""',
        ),
        *("update t set names = 'x'", "update t set client_encoding = 'x'", "set names.x to 'latin1'"),
        *("set namespace to x", "set my.client_encoding to latin1", "set client_encodings to latin1"),
        *("alter role r set client_encoding to latin1", "alter database d set client_encoding = 'latin1'"),
        *("create function f() returns int language sql set client_encoding = latin1 as 'select 1'",),
        *(
            "select set_config('client_encoding', 'utf8', true)",
            "select set_config('client_encoding', $1, true)",
        ),
        *("select my_set_config('client_encoding', 'x')", "select set_config('search_path', 'names', true)"),
        *(
            "select set_config('client_encoding', null, true)",
            "select 'set_config(''client_encoding'', ''x'')'",
        ),
        *("set names 'unterminated", "set names $$unterminated", "select names, client_encoding from t"),
    ],
)
def test_a_text_that_sets_no_other_client_encoding(sql: str) -> None:
    assert check_sql(sql) == sql


def test_a_text_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    check_sql("x" * 100)
    check_sql("ü" * 100)
    with pytest.raises(LocalProtocolError, match="it has 1073676289 bytes"):
        check_sql("x" * (0x3FFFFFFE - 65536 + 3))


@pytest.mark.slow
@pytest.mark.holds("L5")
@pytest.mark.parametrize(
    "piece",
    [
        *("'", "''", "e'", "$a$", "$", '"', "--", "/*", "/* */", " ", ".", "a.", "into ", "insert into "),
        *("copy a ", "((", ";", "insert ", "u&"),
        *(";set ", ";set names", ";set names '", ";set client_encoding to ", "set_config(", "set_config('"),
        "set_config('client_encoding','utf8'",
    ],
)
def test_the_time_that_it_takes_grows_with_the_text(piece: str) -> None:
    """A text ten times as long takes ten times as long, not a hundred times."""

    def seconds(count: int) -> float:
        text = "select " + piece * count
        best = 1e9
        for _ in range(3):
            start = time.process_time()
            leaves_no_trace(text)
            ends_transaction(text, [R])
            copies_in(f"copy {text} stdin")
            sets_encoding(f"{text} client_encoding")
            is_plain(text)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(50_000) < 40 * seconds(5_000) + 0.01
