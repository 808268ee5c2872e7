"""Sessions of the extended query protocol: statements, portals, pipelines, and errors at each place."""

from __future__ import annotations

from collections.abc import Sequence

from pgproto.wire import (
    Bind,
    Close,
    CopyData,
    CopyDone,
    CopyFail,
    Describe,
    Execute,
    Flush,
    Message,
    Parse,
    Query,
    Sync,
    tags,
)
from tests.corpus.scenes_simple import TABLE, TYPES, queries
from tests.corpus.wire import Scene

ONE = (Parse("", "select 1"), Bind("", "", (), (), ()), Describe("P", ""), Execute())


def run(sql: str, *values: bytes | None, formats: Sequence[int] = ()) -> list[Message]:
    """One statement by the unnamed statement and portal, without its Sync."""
    return [Parse("", sql), Bind("", "", (), values, formats), Describe("P", ""), Execute()]


def at(place: str) -> list[Message]:
    """A statement that fails at Parse, Bind, Describe, Execute or Close."""
    places: dict[str, list[Message]] = {
        "parse": run("selct 1"),
        "bind": run("select $1::int", b"x"),
        "bind count": run("select $1::int"),
        "bind missing": [Bind("", "missing", (), (), ()), Execute()],
        "describe statement": [Describe("S", "missing"), *ONE],
        "describe portal": [Describe("P", "missing"), *ONE],
        "execute": run("select 1 / (n - 2) from generate_series(1, 3) n"),
        "execute missing": [Execute("missing"), *ONE],
        "no error": [Close("S", "missing"), Close("P", "missing")],
    }
    return places[place]


PLACES = (
    "parse",
    "bind",
    "bind count",
    "bind missing",
    "describe statement",
    "describe portal",
    "execute",
    "execute missing",
    "no error",
)
SERIES = "select n, 'row ' || n from generate_series(1, 7) n"

SCENES = [
    Scene("extended-one", "18", [(*ONE, Sync())]),
    Scene("extended-one-3.0", "15", [(*ONE, Sync())], protocol=tags.PROTOCOL_3_0),
    Scene("extended-step-by-step", "18", [(message, Flush()) for message in ONE] + [(Sync(),)]),
    Scene("extended-empty", "18", [(*run(""), Sync()), (*run("-- only words"), Sync())]),
    Scene("extended-no-describe", "18", [(Parse("", SERIES), Bind("", "", (), (), ()), Execute(), Sync())]),
    Scene("extended-syncs-only", "18", [(Sync(),), (Sync(), Sync(), Sync())]),
    Scene("extended-flush-only", "18", [(Flush(),), (Sync(), Flush())]),
    Scene(
        "extended-prepared",
        "18",
        [
            (Parse("p", "select $1::int + $2::int8, $3", (0, 20, 25)), Describe("S", "p"), Sync()),
            (Bind("", "p", (0,), (b"1", b"2", b"x"), (0,)), Execute(), Sync()),
            (Bind("", "p", (1, 1, 0), (bytes(4), bytes(8), None), (1, 0)), Execute(), Sync()),
            (Close("S", "p"), Sync()),
            (Bind("", "p", (), (), ()), Sync()),
        ],
    ),
    Scene(
        "extended-prepared-twice",
        "15",
        [
            (Parse("p", "select 1"), Sync()),
            (Parse("p", "select 2"), Sync()),
            (Close("S", "p"), Parse("p", "select 2"), Sync()),
        ],
    ),
    Scene(
        "extended-describe-statements",
        "18",
        [
            (
                Parse("r", SERIES),
                Describe("S", "r"),
                Parse("n", TABLE),
                Describe("S", "n"),
                Parse("e", ""),
                Describe("S", "e"),
                Parse("w", "with x as (select $1::text[]) table x"),
                Describe("S", "w"),
                Sync(),
            )
        ],
    ),
    Scene(
        "extended-explicit-types",
        "18",
        [(Parse("", "select $1, $2, $3", (1043, 16, 600)), Describe("S", ""), Sync())],
    ),
    Scene(
        "extended-unknown-type",
        "18",
        [(Parse("", "select $1", (0,)), Describe("S", ""), Sync()), (Parse("", "select $1 + $2"), Sync())],
    ),
    Scene("extended-binary-types", "18", [(*run(TYPES, formats=(1,)), Sync())]),
    Scene("extended-text-types", "15", [(*run(TYPES, formats=(0,)), Sync())]),
    Scene(
        "extended-mixed-formats",
        "18",
        [(*run("select 1, 2::int8, true, null", formats=(1, 0, 1, 0)), Sync())],
    ),
    Scene("extended-large-parameter", "18", [(*run("select length($1), $1", b"y" * 9000), Sync())]),
    Scene(
        "extended-many-parameters",
        "18",
        [
            (
                *run(
                    "select " + ", ".join(f"${n}::int" for n in range(1, 81)), *[b"%d" % n for n in range(80)]
                ),
                Sync(),
            )
        ],
    ),
    Scene(
        "portal-suspended",
        "18",
        [
            (Parse("", SERIES), Bind("c", "", (), (), ()), Execute("c", 3), Flush()),
            (Execute("c", 3), Flush()),
            (Execute("c", 3), Sync()),
            (Execute("c", 1), Sync()),
        ],
    ),
    Scene(
        "portal-suspended-exactly",
        "18",
        [(Parse("", SERIES), Bind("", "", (), (), ()), Execute("", 7), Execute("", 1), Execute(), Sync())],
    ),
    Scene(
        "portal-one-by-one",
        "15",
        [(Parse("", SERIES), Bind("", "", (), (), ()), Describe("P", ""), *[Execute("", 1)] * 8, Sync())],
    ),
    Scene(
        "portals-interleaved",
        "18",
        [
            (Query("begin"),),
            (
                Parse("s", SERIES),
                Bind("a", "s", (), (), ()),
                Bind("b", "s", (), (), (1,)),
                Execute("a", 2),
                Execute("b", 3),
                Execute("a", 2),
                Describe("P", "b"),
                Close("P", "a"),
                Sync(),
            ),
            (Execute("b", 1), Sync()),
            (Execute("a", 1), Sync()),
            (Query("commit"),),
        ],
    ),
    Scene(
        "portal-gone-with-transaction",
        "18",
        [(Parse("", SERIES), Bind("c", "", (), (), ()), Execute("c", 1), Sync()), (Execute("c"), Sync())],
    ),
    Scene(
        "portal-fails-late",
        "18",
        [
            (
                Parse("", "select 1 / (n - 4) from generate_series(1, 9) n"),
                Bind("", "", (), (), ()),
                Execute("", 2),
                Execute("", 2),
                Execute("", 1),
                Sync(),
            )
        ],
    ),
    Scene(
        "portal-of-dml",
        "18",
        [
            *queries(TABLE),
            (
                Parse("", "insert into t select n from generate_series(1, 4) n returning a"),
                Bind("", "", (), (), ()),
                Execute("", 2),
                Execute("", 2),
                Execute(),
                Sync(),
            ),
        ],
    ),
    Scene(
        "pipeline-of-three",
        "18",
        [(*ONE, Sync(), *run("select 2, $1", b"b"), Sync(), *run("select 3"), Sync())],
    ),
    Scene("pipeline-one-sync", "18", [(*ONE, *run("select 2"), *run(""), *run("select $1", None), Sync())]),
    *[
        Scene(
            f"pipeline-error-{place.replace(' ', '-')}",
            "15" if index % 3 == 2 else "18",
            [
                (
                    *run("select 'first'"),
                    *at(place),
                    *run("select 'skipped'"),
                    Close("S", ""),
                    Sync(),
                    *run("select 'after'"),
                    Sync(),
                )
            ],
        )
        for index, place in enumerate(PLACES)
    ],
    Scene(
        "pipeline-error-in-each",
        "18",
        [(*at("parse"), Sync(), *at("bind"), Sync(), *at("execute"), Sync(), *at("execute missing"), Sync())],
    ),
    Scene(
        "pipeline-error-first-only",
        "18",
        [(Parse("", "bad"), Sync(), Parse("", "worse"), Flush()), (Sync(),)],
    ),
    Scene(
        "pipeline-error-then-flush",
        "15",
        [(*at("execute"), Flush()), (*ONE, Flush()), (Close("P", ""), Sync()), (*ONE, Sync())],
    ),
    Scene(
        "pipeline-query-skipped",
        "18",
        [(*at("bind"), Query("select 1"), Flush()), (Sync(),), (Query("select 2"),)],
    ),
    Scene(
        "pipeline-mixed",
        "18",
        [
            (
                Query("select 1"),
                *ONE,
                Sync(),
                Query("select 2; select 3"),
                Sync(),
                *run("select 4"),
                Query("select 5"),
                Sync(),
            )
        ],
    ),
    Scene(
        "pipeline-transaction", "18", [(*run("begin"), *run("select 1"), *run("commit"), Sync()), (Sync(),)]
    ),
    Scene(
        "pipeline-transaction-aborted",
        "18",
        [
            (*run("begin"), *at("execute"), *run("commit"), Sync()),
            (*run("select 1"), Sync()),
            (*run("rollback"), *run("select 2"), Sync()),
        ],
    ),
    Scene(
        "pipeline-savepoints",
        "18",
        [
            (Query("begin"),),
            (*run("savepoint s"), Sync()),
            (*at("execute"), Sync()),
            (*run("rollback to s"), *run("select 1"), Sync()),
            (*run("release s"), *run("commit"), Sync()),
        ],
    ),
    Scene(
        "pipeline-implicit-transaction",
        "18",
        [
            (Query(TABLE),),
            (*run("insert into t values (1)"), *run("insert into t values (1)"), Sync()),
            (*run("insert into t values (2)"), Sync(), *run("insert into t values (2)"), Sync()),
            (Query("select * from t"),),
        ],
    ),
    Scene(
        "pipeline-deferred",
        "18",
        [
            (Query("create temp table d (a int unique deferrable initially deferred)"),),
            (*run("insert into d values (1), (1)"), *run("select 1"), Sync()),
            (*ONE, Sync()),
        ],
    ),
    Scene(
        "pipeline-notices",
        "15",
        [
            (*run("drop table if exists a"), *run("drop table if exists b"), Sync()),
            (*run("set application_name = 'x'"), *run("select 1/0"), Sync()),
        ],
    ),
    Scene(
        "pipeline-notify",
        "18",
        [
            (*run("listen x"), Sync()),
            (*run("notify x, '1'"), *run("notify x, '2'"), Sync(), *run("notify x"), Sync()),
        ],
    ),
    Scene("pipeline-vacuum", "18", [(*ONE, *run("vacuum pg_am"), Sync()), (*run("vacuum pg_am"), Sync())]),
    Scene("pipeline-two-commands", "18", [(*run("select 1; select 2"), Sync())]),
    Scene(
        "pipeline-of-fifty",
        "18",
        [
            (
                Parse("", "select $1::int"),
                *[message for n in range(25) for message in (Bind("", "", (), (b"%d" % n,), ()), Execute())],
                Sync(),
            )
        ],
    ),
    Scene(
        "cached-plan",
        "18",
        [
            *queries("create temp table p (a int)"),
            (Parse("s", "select * from p"), Sync()),
            (Bind("", "s", (), (), ()), Execute(), Sync()),
            *queries("alter table p add b text"),
            (Bind("", "s", (), (), ()), Execute(), Sync()),
        ],
    ),
    Scene(
        "statement-discarded",
        "18",
        [
            (Parse("s", "select 1"), Sync()),
            *queries("discard all"),
            (Bind("", "s", (), (), ()), Describe("P", ""), Execute(), Sync()),
        ],
    ),
    Scene(
        "copy-in-extended",
        "18",
        [
            (Query(TABLE),),
            (Parse("", "copy t from stdin"), Bind("", "", (), (), ()), Describe("P", ""), Execute(), Flush()),
            (CopyData(b"1\ta\n"), CopyDone(), Sync()),
            (Query("table t"),),
        ],
    ),
    Scene(
        "copy-in-extended-sync-ignored",
        "18",
        [(Query(TABLE),), (*run("copy t from stdin"), Sync()), (CopyData(b"2\tb\n"), CopyDone(), Sync())],
    ),
    Scene(
        "copy-in-extended-fail",
        "15",
        [
            (Query(TABLE),),
            (*run("copy t from stdin"), Flush()),
            (CopyData(b"1\ta\n"), CopyFail("enough"), *run("select 1"), Sync()),
            (*ONE, Sync()),
        ],
    ),
    Scene(
        "copy-in-extended-bad-data",
        "18",
        [
            (Query(TABLE),),
            (*run("copy t from stdin"), Flush()),
            (CopyData(b"no number\n"), CopyData(b"1\ta\n"), CopyDone(), Sync()),
            (*ONE, Sync()),
        ],
    ),
    Scene("copy-out-extended", "18", [(*run("copy (values (1), (2)) to stdout"), *run("select 1"), Sync())]),
    Scene(
        "copy-out-extended-error",
        "18",
        [(*run("copy (select 1 / (2 - n) from generate_series(1, 3) n) to stdout"), *ONE, Sync(), Sync())],
    ),
]
