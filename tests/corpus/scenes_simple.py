"""Sessions of the simple query protocol: statements, errors, transactions, COPY, notices, function calls."""

from __future__ import annotations

from collections.abc import Sequence

from pgproto.wire import CopyData, CopyDone, CopyFail, FunctionCall, Message, Query, tags
from tests.corpus.wire import Scene, Step


def queries(*texts: str) -> list[Sequence[Message]]:
    """Each as a Query of its own."""
    return [(Query(text),) for text in texts]


def copy(sql: str, *pieces: str, end: Message | None = None) -> list[Step]:
    """A Query, and its data once the server asks for them."""
    data: list[Message] = [CopyData(piece.encode()) for piece in pieces]
    return [(Query(sql),), [*data, end or CopyDone()]]


TABLE = "create temp table t (a int primary key, b text)"
DEFERRED = "create temp table d (a int unique deferrable initially deferred)"
TYPES = (
    "select true, 1::int2, -2::int4, 3::int8, 1.5::float4, 'NaN'::float8, 12.345::numeric, 'x'::\"char\","
    " 'ab'::char(4), 'v'::varchar, 'n'::name, '\\x00ff'::bytea, date '2024-02-29', time '24:00',"
    " timetz '12:00+02', timestamp 'infinity', timestamptz '2001-02-03 04:05:06.789+00',"
    " interval '1 year 2 days 3.5 s', '{\"a\": [1]}'::json, '{\"b\": null}'::jsonb,"
    " '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid, '10.0.0.0/8'::cidr, '::1'::inet,"
    " macaddr '08:00:2b:01:02:03', point '(1,2)', box '(1,1),(0,0)', money '12.34', bit '101',"
    " varbit '11', '<a>x</a>'::xml, 'fat & rat'::tsquery, 'a fat cat'::tsvector, '[1,5)'::int4range,"
    " '{[1,2),[4,5)}'::int4multirange, array[1,null,3], array[['a','b'],['c','\"']], 'pg_class'::regclass,"
    " row(1,'x',null), '0/16B6C50'::pg_lsn, null"
)

SCENES = [
    Scene("simple-one", "18", queries("select 1 as one")),
    Scene("simple-one-3.0", "15", queries("select 1 as one, null as none"), protocol=tags.PROTOCOL_3_0),
    Scene("simple-empty", "18", queries("", ";", " -- nothing\n")),
    Scene("simple-several", "18", queries("select 1; select 2, 'two'; select")),
    Scene("simple-several-error-first", "18", queries("select 1/0; select 2")),
    Scene("simple-several-error-middle", "18", queries("select 1; select 1/0; select 3", "select 4")),
    Scene("simple-several-error-last", "15", queries("select 1; select 2; select nothing")),
    Scene("simple-syntax-error", "18", queries("selct 1", "select 1;;select 2 from")),
    Scene("simple-error-in-rows", "18", queries("select 10 / (3 - n) from generate_series(1, 5) n")),
    Scene(
        "simple-error-fields",
        "18",
        queries(
            "create temp table e (a int constraint positive check (a > 0), b int not null)",
            "insert into e values (-1, 1)",
            "insert into e values (1, null)",
            "select * from no.where",
            "do $$ begin raise exception using message = 'm', detail = 'd', hint = 'h', errcode = 'XY123',"
            " column = 'c', constraint = 'k', datatype = 'y', table = 't', schema = 's'; end $$",
        ),
    ),
    Scene("simple-many-rows", "18", queries("select n, repeat('x', n % 7) from generate_series(1, 300) n")),
    Scene("simple-no-rows", "15", queries("select 1 where false", "select from generate_series(1, 3)")),
    Scene("simple-many-columns", "18", queries("select " + ", ".join(f"{n} as c{n}" for n in range(120)))),
    Scene("simple-large-row", "18", queries("select repeat('0123456789', 1500), 1", "select 2")),
    Scene(
        "simple-large-rows", "18", queries("select repeat(chr(96 + n), 2000) from generate_series(1, 6) n")
    ),
    Scene("simple-nulls", "18", queries("select null, '', null::int union all select 'a', null, 1")),
    Scene("simple-types", "18", queries(TYPES)),
    Scene("simple-types-15", "15", queries(TYPES), protocol=tags.PROTOCOL_3_0),
    Scene("simple-unicode", "18", queries("select 'ä€\U0001f600' as \"spälte\"", "select '\ufeff'")),
    Scene(
        "simple-strange-names",
        "18",
        queries('select 1 as "", 2 as "?column?", 3 as "a\nb", 4 as "__class__"'),
    ),
    Scene(
        "simple-ddl",
        "18",
        queries(
            TABLE,
            "insert into t select n, n from generate_series(1, 3) n",
            "update t set b = null where a > 1",
            "delete from t returning *",
            "truncate t",
            "drop table t",
        ),
    ),
    Scene("simple-ctas", "15", queries("create temp table c as select 1 a", "table c", "analyze c")),
    Scene("simple-transaction", "18", queries("begin", TABLE, "insert into t values (1, 'x')", "commit")),
    Scene(
        "simple-transaction-failed", "18", queries("begin", "select 1/0", "select 1", "commit", "select 2")
    ),
    Scene("simple-transaction-in-one", "15", queries("begin; select 1; rollback; select 2")),
    Scene(
        "simple-implicit-transaction",
        "18",
        queries(TABLE, "insert into t values (1); insert into t values (1)", "select count(*) from t"),
    ),
    Scene(
        "simple-savepoints",
        "18",
        queries("begin", "savepoint a", "select 1/0", "rollback to a", "savepoint b", "release a", "end"),
    ),
    Scene("simple-warnings", "18", queries("commit", "begin; begin", "rollback; rollback")),
    Scene(
        "simple-deferred",
        "18",
        queries(
            DEFERRED,
            "begin; insert into d values (1); insert into d values (1)",
            "commit",
            "insert into d values (2), (2)",
        ),
    ),
    Scene(
        "simple-two-phase",
        "18",
        queries(
            "begin; prepare transaction 'corpus'", "rollback prepared 'corpus'", "rollback prepared 'none'"
        ),
    ),
    Scene(
        "simple-notices",
        "18",
        queries(
            "do $$ begin raise notice 'one'; raise warning 'two'; raise info 'three'; end $$",
            "drop table if exists nowhere",
            "set client_min_messages = error",
            "drop table if exists nowhere",
        ),
    ),
    Scene(
        "simple-notices-between-rows",
        "18",
        queries(
            "create function pg_temp.say(n int) returns int language plpgsql as"
            " $$ begin raise notice 'row %', n; return n; end $$",
            "select pg_temp.say(n), repeat('.', 4000) from generate_series(1, 4) n",
        ),
    ),
    Scene(
        "simple-debug", "15", queries("set client_min_messages = debug1", "create temp table x (a serial)")
    ),
    Scene(
        "simple-parameter-status",
        "18",
        queries(
            "set application_name = 'a'; set timezone = 'UTC'",
            "set datestyle = 'German'; select 1/0",
            "begin; set local standard_conforming_strings = off; select 1",
            "rollback",
            "reset all",
        ),
    ),
    Scene(
        "simple-role", "15", queries("set session authorization scram_user", "set role none", "discard all")
    ),
    Scene(
        "simple-notify",
        "18",
        queries(
            "listen jobs",
            "notify jobs, 'first'",
            "notify jobs; notify jobs, 'second'; notify other",
            "begin; notify jobs, 'in a block'",
            "select 1",
            "commit",
            "unlisten *",
            "notify jobs",
        ),
    ),
    Scene(
        "simple-notify-then-error",
        "18",
        queries("listen jobs", "notify jobs, 'never'; select 1/0", "select 1"),
    ),
    Scene(
        "simple-cursor",
        "18",
        queries(
            "begin",
            "declare c cursor for select * from generate_series(1, 5)",
            "fetch 2 from c",
            "move 1 in c",
            "fetch all from c",
            "fetch 1 from c",
            "close c",
            "fetch c",
            "rollback",
        ),
    ),
    Scene(
        "simple-prepare",
        "18",
        queries(
            "prepare p as select $1::int + 1",
            "execute p(1)",
            "execute p('x')",
            "deallocate p",
            "execute p(2)",
        ),
    ),
    Scene(
        "simple-explain", "15", queries("explain (costs off) select 1", "show all_", "show server_version")
    ),
    Scene("simple-timeout", "18", queries("set statement_timeout = 20", "select pg_sleep(5)", "select 1")),
    Scene(
        "simple-lock-timeout",
        "18",
        queries("set lock_timeout = 20", "select pg_cancel_backend(pg_backend_pid())", "select 1"),
    ),
    Scene("simple-pipelined", "18", [(Query("select 1"), Query("select 1/0"), Query("select 3; select 4"))]),
    Scene(
        "simple-pipelined-in-block",
        "15",
        [(Query("begin"), Query("bad"), Query("select 1"), Query("rollback"), Query(""))],
    ),
    Scene(
        "copy-in-simple",
        "18",
        [*queries(TABLE), *copy("copy t from stdin", "1\tone\n2\t", "two\n3\t\\N\n"), *queries("table t")],
    ),
    Scene("copy-in-nothing", "15", [*queries(TABLE), *copy("copy t from stdin")]),
    Scene(
        "copy-in-csv", "18", [*queries(TABLE), *copy("copy t from stdin csv header", 'a,b\n1,"x,""y"""\n')]
    ),
    Scene(
        "copy-in-fail",
        "18",
        [
            *queries(TABLE),
            *copy("copy t from stdin", "1\tone\n", end=CopyFail("no more")),
            *queries("select 1"),
        ],
    ),
    Scene(
        "copy-in-bad-data",
        "18",
        [*queries(TABLE), *copy("copy t from stdin", "1\tone\n", "x\ttwo\n", "3\t\n")],
    ),
    Scene(
        "copy-in-duplicate-in-block",
        "15",
        [*queries("begin", TABLE), *copy("copy t from stdin", "1\ta\n1\tb\n"), *queries("rollback")],
    ),
    Scene("copy-in-refused", "18", queries("copy nowhere from stdin", "copy (select 1) from stdin")),
    Scene(
        "copy-in-binary",
        "18",
        [
            *queries("create temp table i (a int)"),
            [Query("copy i from stdin binary")],
            [
                CopyData(b"PGCOPY\n\xff\r\n\0" + bytes(8)),
                CopyData(b"\0\1\0\0\0\4\0\0\0\7\0\1\xff\xff\xff\xff"),
                CopyData(b"\xff\xff"),
                CopyDone(),
            ],
            *queries("table i"),
        ],
    ),
    Scene(
        "copy-in-between",
        "18",
        [
            *queries(TABLE),
            *copy("select 1; copy t from stdin; select 2", "5\tfive\n"),
            *queries("select count(*) from t"),
        ],
    ),
    Scene(
        "copy-in-twice",
        "18",
        [
            *queries(TABLE),
            [Query("copy t from stdin; copy t from stdin; select 3")],
            [CopyData(b"1\t\n"), CopyDone()],
            [CopyData(b"2\t\n"), CopyDone()],
        ],
    ),
    Scene(
        "copy-in-pipelined-query-after",
        "18",
        [
            *queries(TABLE),
            [Query("copy t from stdin")],
            [CopyData(b"1\tx\n"), CopyDone(), Query("select 1"), Query("select 1/0")],
        ],
    ),
    Scene("copy-out-simple", "18", queries("copy (values (1, 'a'), (2, null)) to stdout", "select 1")),
    Scene(
        "copy-out-many", "15", queries("copy (select n, n * n from generate_series(1, 150) n) to stdout csv")
    ),
    Scene("copy-out-nothing", "18", queries("copy (select 1 where false) to stdout (header, format csv)")),
    Scene("copy-out-binary", "18", queries("copy (select 1, 'x', null) to stdout (format binary)")),
    Scene(
        "copy-out-error", "18", queries("copy (select 1 / (3 - n) from generate_series(1, 9) n) to stdout")
    ),
    Scene(
        "copy-out-both-ways",
        "18",
        [
            *queries(TABLE),
            *copy("copy (select 1) to stdout; copy t from stdin; copy t to stdout", "8\teight\n"),
        ],
    ),
    Scene(
        "copy-both-refused",
        "18",
        [[Query("START_REPLICATION PHYSICAL FF/0")], [Query("SHOW port")]],
        database="",
        parameters={"replication": "true"},
    ),
    Scene(
        "replication-bad-command",
        "15",
        [[Query("NONSENSE")], [Query("SHOW wal_level")]],
        database="",
        parameters={"replication": "true"},
    ),
    Scene(
        "replication-slot",
        "18",
        queries(
            "CREATE_REPLICATION_SLOT s TEMPORARY PHYSICAL",
            "READ_REPLICATION_SLOT s",
            "DROP_REPLICATION_SLOT s",
            "DROP_REPLICATION_SLOT s",
        ),
        database="",
        parameters={"replication": "true"},
    ),
    Scene(
        "function-call",
        "18",
        [
            [FunctionCall(1403, (), (b"5",), 0)],  # int4 -> text? whatever it is, it answers
            [FunctionCall(177, (1,), (b"\0\0\0\2", b"\0\0\0\3"), 1)],  # int4pl
            [FunctionCall(177, (0,), (b"2", None), 0)],
            *queries("select 1"),
        ],
    ),
    Scene(
        "function-call-errors",
        "15",
        [
            [FunctionCall(154, (0,), (b"1", b"0"), 0)],  # int4div by zero
            [FunctionCall(999999, (), (), 0)],
            [FunctionCall(177, (0,), (b"1",), 0)],
            [FunctionCall(177, (0,), (b"1", b"2"), 0), Query("select 2")],
        ],
    ),
    Scene(
        "function-call-in-failed-block",
        "18",
        [*queries("begin; select 1/0"), [FunctionCall(177, (0,), (b"1", b"2"), 0)], *queries("rollback")],
    ),
]
