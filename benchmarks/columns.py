"""Columns beside their peers: `python -m benchmarks.columns`.

A million rows of (int8, float8, timestamptz, text), read to a `pyarrow.Table` and stored from one.  Every
figure is that of a fresh process, which does one operation: CPU time (user and system, threads included)
and wall time of the operation alone, and by how much it raised the peak memory.  Imports and connecting are
not in them: each process reads a single row first, because some libraries import others only then (pyarrow
imports pandas for its first table).

    --compiled DIR      a compiled build of pgproto; by default the checkout
    --python FILE       an interpreter that has the peers: pyarrow, and as there are any, asyncpg,
                        adbc-driver-postgresql and connectorx
    --dsn URL           a server that runs already; by default one is started
    --rows N            how many
    --rounds N          how many processes each; reported are the medians

The rounds are interleaved.  asyncpg and pgproto's `fetch` stop at their rows, which is less work.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import importlib
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from . import memory

__all__ = ["CASES", "main", "measured"]

_QUERY: Final = "select id, value, at, label from columns_source"
_FIRST: Final = f"{_QUERY} limit 1"
_MAKE: Final = """
    drop table if exists columns_source; drop table if exists columns_target;
    create unlogged table columns_source (id int8, value float8, at timestamptz, label text);
    insert into columns_source
      select n, n / 8.0, timestamptz '2024-01-01' + n * interval '1 second', 'label ' || n
      from generate_series(1, {rows}) n;
    create unlogged table columns_target (like columns_source)
"""

Operation = Callable[[], Any]


def _pgproto_columns(dsn: str) -> Operation:
    pyarrow = importlib.import_module("pyarrow")
    conn = importlib.import_module("pgproto_blocking").connect(dsn)
    pyarrow.table(conn.fetch_columns(_FIRST))
    return lambda: pyarrow.table(conn.fetch_columns(_QUERY))


def _pgproto_rows(dsn: str) -> Operation:
    conn = importlib.import_module("pgproto_blocking").connect(dsn)
    conn.fetch(_FIRST)
    return lambda: conn.fetch(_QUERY)


def _asyncpg_rows(dsn: str) -> Operation:
    loop = asyncio.new_event_loop()
    conn = loop.run_until_complete(importlib.import_module("asyncpg").connect(dsn))
    loop.run_until_complete(conn.fetch(_FIRST))
    return lambda: loop.run_until_complete(conn.fetch(_QUERY))


def _adbc(dsn: str) -> Any:
    return importlib.import_module("adbc_driver_postgresql.dbapi").connect(dsn)


def _adbc_columns(dsn: str) -> Operation:
    cursor = _adbc(dsn).cursor()
    cursor.execute(_FIRST)
    cursor.fetch_arrow_table()

    def run() -> Any:
        cursor.execute(_QUERY)
        return cursor.fetch_arrow_table()

    return run


def _connectorx_columns(dsn: str) -> Operation:
    connectorx = importlib.import_module("connectorx")
    read = functools.partial(connectorx.read_sql, dsn, return_type="arrow", protocol="binary")
    read(_FIRST)
    return lambda: read(_QUERY)


def _pgproto_copy(dsn: str) -> Operation:
    conn = importlib.import_module("pgproto_blocking").connect(dsn)
    table = importlib.import_module("pyarrow").table(conn.fetch_columns(_QUERY))
    return lambda: range(conn.copy_columns("columns_target", table))


def _adbc_copy(dsn: str) -> Operation:
    connection = _adbc(dsn)
    cursor = connection.cursor()
    cursor.execute(_QUERY)
    table = cursor.fetch_arrow_table()

    def run() -> Any:
        count = cursor.adbc_ingest("columns_target", table, mode="append")
        connection.commit()
        return range(count)

    return run


CASES: Final[dict[str, tuple[Callable[[str], Operation], tuple[str, ...]]]] = {
    "read: pgproto fetch_columns": (_pgproto_columns, ("pyarrow",)),
    "read: adbc fetch_arrow_table": (_adbc_columns, ("pyarrow", "adbc_driver_postgresql")),
    "read: connectorx read_sql": (_connectorx_columns, ("pyarrow", "connectorx")),
    "read: pgproto fetch": (_pgproto_rows, ()),
    "read: asyncpg fetch": (_asyncpg_rows, ("asyncpg",)),
    "store: pgproto copy_columns": (_pgproto_copy, ("pyarrow",)),
    "store: adbc adbc_ingest": (_adbc_copy, ("pyarrow", "adbc_driver_postgresql")),
}
"""What is measured: makes the operation, and the packages that it needs."""


def measured(name: str, dsn: str, rows: int) -> dict[str, Any]:
    """One operation, in this process.

    Raises:
        AssertionError: it gave another number of rows.
    """
    make, packages = CASES[name]
    if any(importlib.util.find_spec(package) is None for package in packages):
        return {"missing": True}
    operation = make(dsn)
    gc.collect()
    before, used = memory.now(), resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    result = operation()
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    peak = memory.peak() - before
    found = len(result)
    if found != rows:
        raise AssertionError(f"{name}: {found} rows instead of {rows}")
    cpu = after.ru_utime - used.ru_utime + after.ru_stime - used.ru_stime
    build = getattr(sys.modules.get("pgproto"), "build", "")
    return {"cpu": cpu, "wall": wall, "peak": peak, "build": build}


def _in_a_process(python: str, paths: list[str], name: str, dsn: str, rows: int) -> dict[str, Any]:
    command = [python, "-P", "-m", "benchmarks.columns", "--dsn", dsn, "--rows", str(rows), "--case", name]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=600)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["?"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The medians, as lines."""
    lines = [f"{'':32} {'CPU s':>7} {'wall s':>7} {'peak MiB':>9}"]
    for name, rounds in found.items():
        if "cpu" not in rounds[0]:
            lines.append(f"{name:32} {rounds[0].get('error', 'not installed')}")
            continue
        cpu, wall, peak = (
            statistics.median(each[key] for each in rounds if "cpu" in each)
            for key in ("cpu", "wall", "peak")
        )
        lines.append(f"{name:32} {cpu:7.3f} {wall:7.3f} {peak / 2**20:9.1f}  {rounds[0]['build']}".rstrip())
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.columns")
    parser.add_argument("--compiled", default="")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--dsn", default="")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--case", choices=list(CASES), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.case:
        print(json.dumps(measured(options.case, options.dsn, options.rows)))
        return

    from pgproto_blocking import connect

    from .__main__ import server
    from .process import ROOT

    paths = [*([options.compiled] if options.compiled else []), str(ROOT / "transports"), str(ROOT)]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CASES}
    with server(options.dsn or None) as dsn:
        with connect(dsn) as conn:
            conn.script(_MAKE.format(rows=options.rows))
            conn.execute("vacuum analyze columns_source")
        for _ in range(options.rounds):
            for name, rounds in found.items():
                if name.startswith("store"):
                    with connect(dsn) as conn:
                        conn.execute("truncate columns_target")
                rounds.append(_in_a_process(options.python, paths, name, dsn, options.rows))
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
