"""Long runs of the types' rigs, and the tables of docs/types.md.

    python -m tests.types --values 200000 --seed 1     random values, with which a server must agree
    python -m tests.types --inputs 5000000 --seed 1    damaged ones: a value or a DataError comes out
    python -m tests.types --table                      write the tables; the peers must be installed

The server is a PostgreSQL 18 of its own.  Ends with 1 if something was found.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

from tests.support.postgres import PostgresServer
from tests.types import table
from tests.types.agree import Report, agree
from tests.types.mutants import Judge, damaged
from tests.types.rows import SCHEMA

T = TypeVar("T")


def write_table(server: PostgresServer) -> None:
    """Write the tables of docs/types.md."""
    with server.database() as name:
        server.query(SCHEMA, dbname=name)
        dsn = server.dsn(dbname=name, options="-c search_path=doc,public")
        results = {driver: table.played(driver, dsn) for driver in table.DRIVERS}
    text = table.DOCUMENT.read_text()
    before, after = text.partition(table.BEGIN)[0], text.partition(table.END)[2]
    table.DOCUMENT.write_text(f"{before}{table.BEGIN}\n\n{table.document(results)}\n{table.END}{after}")


def show_values(reports: list[Report]) -> int:
    """Print what came of random values; 1 if something was wrong."""
    print(f"{sum(each.values for each in reports):,} values of {reports[0].types} types")
    wrong = [line for each in reports for line in each.wrong]
    print(*wrong, f"{len(wrong)} wrong", sep="\n")
    return int(bool(wrong))


def show_inputs(judges: list[Judge]) -> int:
    """Print what came of damaged values; 1 if there is a finding."""
    print(f"{sum(each.inputs for each in judges):,} inputs, {sum(each.refused for each in judges):,} refused")
    texts, refused = sum(each.texts for each in judges), sum(each.texts_refused for each in judges)
    print(f"{texts:,} texts, {refused:,} refused")
    findings = {name: found for each in judges for name, found in each.findings.items()}
    for name, (codec, data, text) in findings.items():
        print(f"\n== {name}: {codec}\n{text}\ninput: {data}")
    print(f"{len(findings)} findings")
    return int(bool(findings))


def in_processes(
    server: PostgresServer, what: Callable[[str, int, int], T], total: int, options: argparse.Namespace
) -> list[T]:
    """Share it out: each process has a seed, and a database of its own."""
    count = options.processes
    seeds = [options.seed * 1000 + number for number in range(count)]
    started = time.monotonic()
    with ExitStack() as stack:
        dsns = [server.dsn(dbname=stack.enter_context(server.database())) for _ in seeds]
        context = multiprocessing.get_context("spawn")
        pool = stack.enter_context(ProcessPoolExecutor(count, mp_context=context))
        found = list(pool.map(what, dsns, [-(-total // count)] * count, seeds))
    print(f"seed {options.seed}, {count} processes, {time.monotonic() - started:.0f} s")
    return found


def main(arguments: list[str]) -> int:
    """Do what is asked for; 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.types", description="The types' rigs.")
    parser.add_argument("--values", type=int, default=0, help="how many random values")
    parser.add_argument("--inputs", type=int, default=0, help="how many damaged values")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="write the tables of docs/types.md")
    options = parser.parse_args(arguments)
    failed = 0
    with PostgresServer("18") as server:
        if options.table:
            write_table(server)
        if options.values:
            failed |= show_values(in_processes(server, agree, options.values, options))
        if options.inputs:
            failed |= show_inputs(in_processes(server, damaged, options.inputs, options))
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
