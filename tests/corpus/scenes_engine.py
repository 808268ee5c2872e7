"""Sessions of the engine: batches, scripts, streams and COPY as the adapters run them."""

from __future__ import annotations

from collections.abc import Sequence

from tests.corpus.wire import Scene

TABLE = ["script", "create temp table t (a int primary key, b text)"]
DEFERRED = ["script", "create temp table d (a int unique deferrable initially deferred)"]
DIE = "select pg_terminate_backend(pg_backend_pid())"
SERIES = "select n, 'row ' || n as t from generate_series(1, 40) n"


def put(number: int) -> list[object]:
    """An insert."""
    return ["insert into t values ($1, $2)", number, f"number {number}"]


TURNS: dict[str, Sequence[Sequence[Sequence[object]]]] = {
    "one": [[["atomic", ["select $1::int + 1", 41]]]],
    "cached": [
        [["atomic", ["select $1::int", 1]]],
        [["atomic", ["select $1::int", 2]]],
        [["atomic", ["select $1::int", None]]],
    ],
    "evicted": [[["atomic", f"select {n}"]] for n in range(11)],
    "batch": [[TABLE], [["atomic", put(1), "select * from t", put(2), ["delete from t where a = $1", 1]]]],
    "batch-empty-query": [[["atomic", "select 1", "", "select 2"]]],
    "batch-of-thirty": [[TABLE], [["atomic", *[put(n) for n in range(30)]]]],
    "batch-fails-first": [[TABLE], [["atomic", "select 1/0", put(1), put(2)]], [["atomic", "table t"]]],
    "batch-fails-middle": [[TABLE], [["atomic", put(1), put(1), put(2)]], [["atomic", "table t"]]],
    "batch-fails-last": [[TABLE], [["atomic", put(1), put(2), "select 1/0"]], [["atomic", "table t"]]],
    "batch-fails-at-parse": [[TABLE], [["atomic", put(1), "selct", put(2)]], [["atomic", "table t"]]],
    "batch-fails-at-bind": [[["atomic", "select 1", ["select ($1::text)::int", "x"], "select 3"]]],
    "batch-fails-deferred": [
        [DEFERRED],
        [["atomic", "insert into d values (1)", "insert into d values (1)"]],
        [["atomic", "insert into d values (2)"]],
    ],
    "batch-control": [[TABLE], [["isolated", "begin", put(1), "commit", put(2), "select 1/0", put(3)]]],
    "isolated": [[TABLE], [["isolated", put(1), put(1), "selct", put(2)]], [["atomic", "table t"]]],
    "pipelined": [
        [TABLE],
        [
            ["atomic", put(1)],
            ["atomic", "select 1/0"],
            ["atomic", put(2), put(3)],
            ["script", "insert into t values (4); table t"],
        ],
    ],
    "pipelined-prepares": [
        [["atomic", [f"select {n}, $1::int8", n]] if n % 2 else ["atomic", f"selct {n}"] for n in range(4)]
    ],
    "pipelined-errors": [
        [
            ["atomic", "select 1/0"],
            ["atomic", "selct"],
            ["script", "select 1; select 1/0"],
            ["isolated", "select 1/0", "select 2"],
            ["atomic", "select 3"],
        ]
    ],
    "scripts": [
        [["script", "select 1; select 2"]],
        [["script", ""]],
        [["script", "select 1; select 1/0; select 2"]],
    ],
    "block": [
        [["script", "begin"]],
        [["atomic", "create temp table x (a int)"]],
        [["atomic", "select 1/0"]],
        [["atomic", "select 1"]],
        [["script", "rollback"]],
        [["atomic", "select 2"]],
    ],
    "block-committed": [[TABLE], [["atomic", "begin"]], [["atomic", put(1), put(2)]], [["atomic", "commit"]]],
    "savepoint": [
        [TABLE],
        [["script", "begin; savepoint a"]],
        [["atomic", put(1)]],
        [["atomic", put(1)]],
        [["script", "rollback to a"]],
        [["atomic", put(2)]],
        [["script", "commit"]],
    ],
    "stream": [[["stream", SERIES]], [["stream", "select 1 where false"]]],
    "stream-fails": [
        [["stream", "select 1 / (n - 30) from generate_series(1, 40) n"]],
        [["atomic", "select 1"]],
    ],
    "copy-in": [
        [TABLE],
        [["copy in", "copy t from stdin", "1\tone\n2\ttwo\n", "3\t\\N\n"]],
        [["atomic", "table t"]],
    ],
    "copy-in-empty": [[TABLE], [["copy in", "copy t from stdin"]]],
    "copy-in-stopped": [
        [TABLE],
        [["copy stopped", "copy t from stdin", "1\tone\n"]],
        [["atomic", "table t"]],
    ],
    "copy-in-fails": [
        [TABLE],
        [["copy in", "copy t from stdin", "1\tone\n", "x\n"]],
        [["atomic", "table t"]],
    ],
    "copy-in-refused": [[["copy in", "copy nowhere from stdin", "1\n"]], [["atomic", "select 1"]]],
    "copy-in-behind": [[TABLE], [["atomic", put(9)], ["copy in", "copy t from stdin", "1\tone\n"]]],
    "copy-out": [[["copy out", "copy (select n, n from generate_series(1, 20) n) to stdout"]]],
    "copy-out-fails": [
        [["copy out", "copy (select 1 / (5 - n) from generate_series(1, 9) n) to stdout"]],
        [["atomic", "select 1"]],
    ],
    "copy-out-behind": [
        [["atomic", "select 1"], ["script", "select 2"], ["copy out", "copy (select 1) to stdout"]]
    ],
    "wrong-direction": [
        [["copy out", "copy t from stdin"]],
        [TABLE],
        [["copy out", "copy t from stdin"]],
        [["script", "set standard_conforming_strings = off"]],
        [["script", r"select '\''; copy t from stdin --'"]],  # hidden in what could be a string
        [["atomic", "select 1"]],
    ],
    "notices": [
        [["script", "do $$ begin raise notice 'a'; end $$"]],
        [["atomic", "drop table if exists no"]],
    ],
    "notify": [[["script", "listen x"]], [["atomic", "notify x, 'a'", "select 1"]], [["script", "notify x"]]],
    "parameters": [
        [["atomic", "set timezone = 'UTC'", "set datestyle = 'German'", "select now()"]],
        [["script", "discard all"]],
        [["atomic", "select 1"]],
    ],
    "types": [
        [
            [
                "atomic",
                ["select $1::text, $2::float8, $3::bool, $4::jsonb", "x", 1.5, True, None],
                "select '{1,2}'::int[], '1 day'::interval, now()::date - date '2024-01-01'",
            ]
        ]
    ],
    "dies": [[["atomic", "select 1"]], [["atomic", DIE]]],
    "dies-in-batch": [[TABLE], [["atomic", put(1), DIE, put(2)]]],
    "dies-isolated": [[TABLE], [["isolated", put(1), DIE, put(2), put(3)]]],
    "dies-pipelined": [[TABLE], [["atomic", put(1)], ["script", DIE], ["atomic", put(2)]]],
    "dies-in-block": [
        [TABLE],
        [["script", "begin"]],
        [["atomic", put(1)]],
        [["script", "insert into t values (2); " + DIE]],
    ],
    "dies-in-script": [[["script", f"select 1; {DIE}; select 2"]]],
    "dies-in-stream": [
        [
            [
                "stream",
                "select n, case n when 20 then pg_terminate_backend(pg_backend_pid()) end"
                " from generate_series(1, 40) n",
            ]
        ]
    ],
    "dies-in-copy-out": [
        [
            [
                "copy out",
                "copy (select n, case n when 9 then pg_terminate_backend(pg_backend_pid())"
                " end from generate_series(1, 20) n) to stdout",
            ]
        ]
    ],
    "cancelled": [
        [["atomic", "select 1", "select pg_cancel_backend(pg_backend_pid())", "select 2"]],
        [["script", "select pg_cancel_backend(pg_backend_pid())"]],
        [["atomic", "select 3"]],
    ],
    "timed-out": [
        [["script", "set statement_timeout = 20"]],
        [["atomic", "select pg_sleep(9)"]],
        [["atomic", "select 1"]],
    ],
    "idle-in-transaction": [
        [["script", "set idle_in_transaction_session_timeout = 1; begin"]],
        [["script", "select 1"]],
    ],
}
BEHIND_POOLER = (
    "batch",
    "isolated",
    "batch-fails-middle",
    "copy-in",
    "copy-out",
    "dies",
    "dies-in-batch",
    "dies-pipelined",
    "dies-in-copy-out",
    "block-committed",
)

SCENES = [
    Scene(f"engine-{name}", "15" if name in ("evicted", "dies-isolated", "stream") else "18", turns=turns)
    for name, turns in TURNS.items()
]
SCENES += [Scene(f"pooled-{name}", "bouncer", turns=TURNS[name]) for name in BEHIND_POOLER]
