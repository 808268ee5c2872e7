"""What is measured: a table of workloads, one entry each.

A workload says which *kind* of work it is (`drivers/session.py` lists them), and the arguments for it.  A
driver that has no such method sits it out.

To add a workload of a known kind, add an entry.  To add a kind, add a method to the sessions as well.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final

from . import types as measured
from .drivers.session import ROUNDS

__all__ = ["DELAYS", "GROWTH", "SETUP", "TOOLBENCH", "TYPES", "WORKLOADS", "Workload", "workloads"]

Check = Callable[[Any], bool]

SETUP: Final = (
    "create unlogged table bench_bytes (b bytea)",
    "insert into bench_bytes (select repeat('a', 1000)::bytea from generate_series(1, 100))",
    "create unlogged table bench_arrays (a int[])",
    "insert into bench_arrays (select (select array_agg(i) from generate_series(1, 100) as s(i))"
    " from generate_series(1, 100))",
    "create unlogged table bench_rows (a int, b int, c int, d text, e float, f int, g text)",
    "create unlogged table bench_ints (n int4)",
    *measured.SETUP,
    "vacuum analyze",
)
"""What a server needs.  The last two tables are written to, and emptied before every turn of every driver."""

DELAYS: Final = (0.2, 1.0, 5.0)
"""Round-trip times that the proxy adds, in milliseconds."""


class Workload:
    """One workload.

    Args:
        name: what it is called on the command line and in the results.
        title: what it is, for the reader of the report.
        group: which section of the report it belongs to.
        kind: how it is done: a method of the sessions.
        arguments: for this method.
        check: True if an operation's result, made plain, is right; every driver is held to it.
        per: how many statements, rows or values an operation is made of.
        table: the table that an operation writes to.
        stored: how many rows it leaves there.
        delay: the round-trip time that is added, in milliseconds.
        rounds: rounds at most.
        fresh: each round in a process of its own, one operation, whose peak memory is measured.
        heavy: left out of a quick run.
        drivers: only drivers with one of these names; with wildcards.
        mains: main drivers only.
    """

    def __init__(
        self,
        name: str,
        title: str,
        group: str,
        kind: str,
        arguments: tuple[Any, ...],
        check: Check,
        *,
        per: int = 1,
        table: str = "",
        stored: int = 0,
        delay: float = 0.0,
        rounds: int = 1000,
        fresh: bool = False,
        heavy: bool = False,
        drivers: tuple[str, ...] = ("*",),
        mains: bool = False,
    ) -> None:
        self.name = name
        self.title = title
        self.group = group
        self.kind = kind
        self.arguments = arguments
        self.check = check
        self.per = per
        self.table = table
        self.stored = stored
        self.delay = delay
        self.rounds = rounds
        self.fresh = fresh
        self.heavy = heavy
        self.drivers = drivers
        self.mains = mains


def _is(expected: object) -> Check:
    return lambda result: bool(result == expected)


class _Made:
    """What is made of the numbers up to `count`, when it is asked for: a million take no memory."""

    def __init__(self, make: Callable[[int], Any], count: int) -> None:
        self._make, self._count = make, count

    def __iter__(self) -> Iterator[Any]:
        return map(self._make, range(self._count))


SELECT: Final = "select $1::int4"
INSERT: Final = "insert into bench_ints values ($1)"
PG_TYPE: Final = (
    "select typname, typnamespace, typowner, typlen, typbyval, typcategory, typispreferred, typisdefined,"
    " typdelim, typrelid, typelem, typarray from pg_type where typtypmod = $1 and typisdefined = $2"
)
COLUMNS: Final = ("a", "b", "c", "d", "e", "f", "g")
RECORD: Final = (10, 11, 10, "TESTTESTTEST", 10.333, 12341234, "123412341234")
INSERT_RECORD: Final = "insert into bench_rows (a, b, c, d, e, f, g) values ($1, $2, $3, $4, $5, $6, $7)"
MIXED: Final = (
    "select i::int4, i::int8 * 10000000000, i::float8 / 2, 'row ' || i, mod(i, 2) = 1,"
    " timestamptz '2026-01-01 00:00:00+00' + i * interval '1 minute' from generate_series(1, $1::int4) as i"
)
_FIRST: Final = (
    1,
    10_000_000_000,
    0.5,
    "row 1",
    True,
    datetime.datetime(2026, 1, 1, 0, 1, tzinfo=datetime.UTC),
)
MEGABYTES: Final = "select convert_to(repeat('x', 1000000), 'UTF8') from generate_series(1, $1::int4)"
STREAM: Final = "select i, 'row ' || i from generate_series(1, {}) as i"

_VALUES: Final = (
    ("bool", 16, True),
    ("int2", 21, 1234),
    ("int4", 23, 123456789),
    ("int8", 20, 1234567890123),
    ("float8", 701, 3.25),
    ("numeric", 1700, decimal.Decimal("12345.6789")),
    ("text", 25, "twenty characters it"),
    ("bytea", 17, b"twenty bytes of data"),
    ("uuid", 2950, uuid.UUID(int=0x1234567890ABCDEF)),
    ("jsonb", 3802, {"a": [1, 2, 3], "b": "text"}),
    ("date", 1082, datetime.date(2026, 11, 22)),
    ("time", 1083, datetime.time(12, 34, 56, 789)),
    ("timestamp", 1114, datetime.datetime(2026, 11, 22, 12, 34, 56, 789)),
    ("timestamptz", 1184, datetime.datetime(2026, 11, 22, 12, 34, 56, 789, tzinfo=datetime.UTC)),
    ("int4_array", 1007, list(range(100))),
)

TOOLBENCH: Final = ("pg_type", "generate_series", "large_object", "arrays", "copyfrom", "batch", "oneplusone")
"""The seven of MagicStack's toolbench, in its order."""

TYPES: Final = "Each type"
"""The group of the workloads that read and write the values of one type."""

GROWTH: Final = {
    "batch size": tuple(f"batch_select_{count}" for count in (10, 100, 1000, 10000)),
    "row count": tuple(f"rows_{count}" for count in (10, 100, 1000, 10000, 100000)),
    "message size, segments of 1,460 bytes": tuple(f"segments_{size}k" for size in (64, 256, 1024, 4096)),
    "messages of the core": tuple(f"messages_{count}" for count in (10, 100, 1000, 10000)),
}
"""What time is fitted against: workloads whose `per` grows."""


def workloads(limit: int = 10**9) -> dict[str, Workload]:
    """All workloads by name.

    Args:
        limit: nothing is larger than this: the tests run everything small.
    """
    entries = [
        *_toolbench(limit),
        *_singles(),
        *_batches(limit),
        *_delayed(limit),
        *_rows(limit),
        *_lives(),
        *_types(limit),
        *_core(limit),
        *_large(limit),
    ]
    return {entry.name: entry for entry in entries}


def _toolbench(limit: int) -> Iterator[Workload]:
    group = "The toolbench"
    series, copied, inserted = min(1000, limit), min(10000, limit), min(1000, limit)
    yield Workload(
        "pg_type",
        "1-pg_type: several hundred rows of 12 columns",
        group,
        "fetch",
        (PG_TYPE, (-1, True)),
        lambda rows: len(rows) > 300 and len(rows[0]) == 12,
    )
    yield Workload(
        "generate_series",
        "2-generate_series: 1,000 rows of one integer",
        group,
        "fetch",
        ("select i from generate_series(1, $1) as i", (series,)),
        _is([(number,) for number in range(1, series + 1)]),
    )
    yield Workload(
        "large_object",
        "3-large_object: 100 rows of 1 kB",
        group,
        "fetch",
        ("select * from bench_bytes", ()),
        lambda rows: len(rows) == 100 and bytes(rows[99][0]) == b"a" * 1000,
    )
    yield Workload(
        "arrays",
        "4-arrays: 100 rows of int[100]",
        group,
        "fetch",
        ("select * from bench_arrays", ()),
        lambda rows: len(rows) == 100 and rows[99][0] == list(range(1, 101)),
    )
    yield Workload(
        "copyfrom",
        "5-copyfrom: COPY of 10,000 records of 7 columns",
        group,
        "copy",
        ("bench_rows", COLUMNS, [RECORD] * copied),
        _is(copied),
        per=copied,
        table="bench_rows",
        stored=copied,
    )
    yield Workload(
        "batch",
        "6-batch: executemany of 1,000 inserts of 7 columns, one transaction",
        group,
        "many",
        (INSERT_RECORD, [RECORD] * inserted),
        lambda _: True,
        per=inserted,
        table="bench_rows",
        stored=inserted,
    )
    yield Workload(
        "oneplusone",
        "7-oneplusone: select 1+1",
        group,
        "fetch",
        ("select 1+1", ()),
        _is([(2,)]),
    )


def _singles() -> Iterator[Workload]:
    yield Workload(
        "single",
        "One cached select",
        "Queries on one connection",
        "fetch",
        (SELECT, (7,)),
        _is([(7,)]),
    )
    yield Workload(
        "gather",
        "100 concurrent selects",
        "Queries on one connection",
        "gather",
        (SELECT, range(100)),
        _is([[(number,)] for number in range(100)]),
        per=100,
    )
    yield Workload(
        "transaction",
        "Transaction of 3 statements",
        "Queries on one connection",
        "transaction",
        ([(SELECT, (1,)), (INSERT, (2,)), (SELECT, (3,))],),
        _is([[(1,)], [], [(3,)]]),
        table="bench_ints",
        stored=1,
    )


def _batches(limit: int) -> Iterator[Workload]:
    for size in (1, 10, 100, 1000, 10000):
        for atomic in (True, False):
            for verb, sql in (("select", SELECT), ("insert", INSERT)):
                yield _batch(verb, sql, size, atomic, limit)


def _batch(verb: str, sql: str, size: int, atomic: bool, limit: int) -> Workload:
    count = min(size, limit)
    expected: list[list[tuple[int]]] = [[(number,)] if verb == "select" else [] for number in range(count)]
    suffix = "" if atomic else "_each"
    return Workload(
        f"batch_{verb}_{size}{suffix}",
        f"Batch of {size:,} {verb}s, {'all or nothing' if atomic else 'each on its own'}",
        "Batches",
        "batch",
        ([(sql, (number,)) for number in range(count)], atomic),
        _is(expected),
        per=count,
        table="bench_ints" if verb == "insert" else "",
        stored=count if verb == "insert" else 0,
        mains=verb == "insert" or not atomic or size not in (100, 1000),
        rounds=3 if size == 10000 else 1000,
        heavy=size == 10000 or not atomic,
    )


def _delayed(limit: int) -> Iterator[Workload]:
    count = min(100, limit)
    statements = [(SELECT, (number,)) for number in range(count)]
    for delay in DELAYS:
        text = f"{delay:g} ms"
        yield Workload(
            f"single_rtt_{delay:g}",
            f"One cached select, round trip + {text}",
            "With an added round-trip time",
            "fetch",
            (SELECT, (7,)),
            _is([(7,)]),
            delay=delay,
            mains=True,
        )
        yield Workload(
            f"batch_rtt_{delay:g}",
            f"Batch of 100 selects, round trip + {text}",
            "With an added round-trip time",
            "batch",
            (statements, True),
            _is([[(number,)] for number in range(count)]),
            per=count,
            delay=delay,
            mains=True,
        )
        yield Workload(
            f"transaction_rtt_{delay:g}",
            f"Transaction of 3 selects, round trip + {text}",
            "With an added round-trip time",
            "transaction",
            ([(SELECT, (number,)) for number in range(3)],),
            _is([[(number,)] for number in range(3)]),
            delay=delay,
            mains=True,
        )


def _rows(limit: int) -> Iterator[Workload]:
    mixed = min(10000, limit)
    yield Workload(
        "mixed_rows",
        "10,000 rows of int4, int8, float8, text, bool, timestamptz",
        "Rows",
        "fetch",
        (MIXED, (mixed,)),
        lambda rows: len(rows) == mixed and rows[0] == _FIRST,
        per=mixed,
    )
    for size in (10, 100, 1000, 10000, 100000):
        count = min(size, limit)
        yield Workload(
            f"rows_{size}",
            f"{size:,} rows of one integer",
            "Rows",
            "fetch",
            ("select generate_series(1, $1::int4)", (count,)),
            _is([(number,) for number in range(1, count + 1)]),
            per=count,
            heavy=size > 10000,
            drivers=("pgproto blocking*", "raw socket"),
        )


def _lives() -> Iterator[Workload]:
    group = "Connections and pools"
    one = _is([(1,)])
    yield Workload(
        "connect", "Connect, one query, close", group, "connecting", ("select 1",), one, mains=True
    )
    yield Workload("pool_cycle", "Pool: acquire, one query, release", group, "pool_cycle", ("select 1",), one)
    for count in (1, 10, 100):
        yield Workload(
            f"tasks_{count}",
            f"{count} concurrent tasks on a pool of 10, {ROUNDS} queries each",
            group,
            "tasks",
            (count, "select 1"),
            _is(count * ROUNDS),
            per=count * ROUNDS,
            mains=count < 100,
        )


def _types(limit: int) -> Iterator[Workload]:
    count = min(250, limit)
    # Nine rounds: there are many, and what is asked for is not close to the noise.
    how: dict[str, Any] = {
        "per": count * measured.COLUMNS,
        "drivers": ("pgproto asyncio*", "asyncpg"),
        "mains": True,
        "heavy": True,
        "rounds": 9,
    }
    for each in measured.TYPES:
        values = (each.value, each.theirs)
        yield Workload(
            f"read_{each.name}",
            f"{count * measured.COLUMNS:,} values of {each.name} read",
            TYPES,
            "read",
            (each.reading, values, count),
            _is([(each.value,) * measured.COLUMNS] * count),
            **how,
        )
        if each.write:
            yield Workload(
                f"write_{each.name}",
                f"{count * measured.COLUMNS:,} values of {each.name} written",
                TYPES,
                "write",
                (each.writing, values, count, measured.COLUMNS),
                lambda _: True,
                **how,
            )


def _core(limit: int) -> Iterator[Workload]:
    count = min(1000, limit)
    group = "The core alone, without I/O"
    for name, oid, value in _VALUES:
        yield Workload(
            f"decode_{name}",
            f"Decode 1,000 values of {name}",
            group,
            "decode",
            (oid, value, count),
            _is([(value,)] * count),
            per=count,
        )
        yield Workload(
            f"encode_{name}",
            f"Encode 1,000 values of {name}",
            group,
            "encode",
            (oid, value, count),
            lambda values: len(values) == count and isinstance(values[0][0], bytes),
            per=count,
        )
    for size in (10, 100, 1000, 10000):
        statements = min(size, limit)
        yield Workload(
            f"messages_{size}",
            f"Bind, Execute and the answers of {size:,} statements",
            group,
            "messages",
            (statements,),
            # BindComplete, DataRows and CommandComplete of each, and ReadyForQuery.
            _is(3 * statements + 1),
            per=statements,
        )
    for kilobytes in (64, 256, 1024, 4096):
        size = min(kilobytes * 1024, limit * 1024)
        yield Workload(
            f"segments_{kilobytes}k",
            f"A row of {kilobytes:,} kB in segments of 1,460 bytes",
            group,
            "segments",
            (size, 1460),
            _is(4),
            per=size,
        )


def _large(limit: int) -> Iterator[Workload]:
    group = "Large, with peak memory"
    megabytes, streamed, statements = min(100, 1 + limit // 10), min(10**6, limit), min(10**6, limit)
    yield Workload(
        "bytea_100mb",
        "100 MB of bytea, in 100 rows",
        group,
        "fetch",
        (MEGABYTES, (megabytes,)),
        lambda rows: len(rows) == megabytes and len(rows[0][0]) == 1_000_000,
        rounds=3,
        fresh=True,
        mains=True,
        heavy=True,
    )
    yield Workload(
        "stream_million",
        "1,000,000 rows of two columns, streamed",
        group,
        "stream",
        (STREAM.format(streamed),),
        _is(streamed),
        per=streamed,
        rounds=1,
        fresh=True,
        heavy=True,
        mains=True,
    )
    yield Workload(
        "many_million",
        "executemany of 1,000,000 inserts, one transaction",
        group,
        "many",
        (INSERT, _Made(lambda number: (number,), statements)),
        lambda _: True,
        per=statements,
        table="bench_ints",
        stored=statements,
        rounds=1,
        fresh=True,
        heavy=True,
        drivers=("pgproto asyncio*", "pgproto blocking*", "asyncpg*"),
    )
    yield Workload(
        "batch_million",
        "Batch of 1,000,000 inserts, an item for each",
        group,
        "batch",
        (_Made(lambda number: (INSERT, (number,)), statements), True),
        lambda sets: len(sets) == statements,
        per=statements,
        table="bench_ints",
        stored=statements,
        rounds=1,
        fresh=True,
        heavy=True,
        drivers=("pgproto blocking*",),
    )


WORKLOADS: Final[dict[str, Workload]] = workloads()
"""Every workload by name."""
