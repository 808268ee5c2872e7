"""`python -m tests.sqlalchemy_dialect`: SQLAlchemy's own tests with our dialects, and with psycopg's.

They come from SQLAlchemy's source distribution, which pip puts into `build/sqlalchemy`; they import the
SQLAlchemy that is beside them there, so that no environment is needed for each version.  The server is one
of our own.  The reports stay in `build/sqlalchemy`, and `--table` writes the table of docs/sqlalchemy.md from
all that are there; so does a run of everything.

    --version 2.1.9 --version 2.0.58    the versions; these two by default
    --dialect pgproto                   one dialect, or several
    --part testing.suite                one of the two parts
    --again                             only what has failed in the last run, and put it into the report
    --table                             run nothing, write the table
    --chosen                            the part that continuous integration runs: about a minute
    anything else goes to pytest        -k name
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from tests.support.postgres import PostgresServer
from tests.support.suites import source, write_results

ROOT: Final = Path(__file__).parents[2]
BUILD: Final = ROOT / "build" / "sqlalchemy"
PAGE: Final = ROOT / "docs" / "sqlalchemy.md"
VERSIONS: Final = ("2.1.9", "2.0.58")
DIALECTS: Final = ("pgproto", "pgproto_async", "psycopg")
PARTS: Final = {
    "testing.suite": "test/dialect/test_suite.py",
    "dialect/postgresql": "test/dialect/postgresql",
}
CHOSEN: Final = (
    "ServerSideCursors or IsolationLevel or ReturningTest or JSONTest or NumericTest or UuidTest or "
    "InsertBehavior or HasTableTest or EnumTest or HStoreRoundTrip or InetRoundTrip or BitTests"
)
# Why a test fails, if that is not the dialect's doing.
KNOWN: Final = {
    "test_array_str_collation": "the server has no collation en_US",
    "test_render_derived_quoting_straight_json": "works, where the test expects every driver to fail",
}
START, END = "<!-- suites: begin -->", "<!-- suites: end -->"

# The suite knows by name which drivers can do what.  What it asks of psycopg holds for ours.
REQUIREMENTS: Final = """
from sqlalchemy.testing import exclusions
from test.requirements import DefaultRequirements


class Requirements(DefaultRequirements):
    range_types = multirange_types = infinity_floats = property(lambda self: exclusions.open())
"""
# One of its tests names the drivers that have ipaddress objects.
INET: Final = 'if testing.against(["+psycopg", "+asyncpg"]) or ('
SUITE: Final = '''
from sqlalchemy.testing.suite import *  # noqa
from sqlalchemy.testing.suite import ServerSideCursorsTest as _ServerSide


class ServerSideCursorsTest(_ServerSide):
    """The original knows drivers by name; with these, a cursor on the server has one."""

    def _is_server_side(self, cursor):
        return bool(getattr(cursor, "name", False))
'''
DATABASE: Final = """
create role scott superuser login;
create database test owner scott;
"""
SCHEMAS: Final = """
create schema test_schema authorization scott;
create schema test_schema_2 authorization scott;
create extension hstore;
create extension citext;
create extension btree_gist;
create text search configuration test_schema.dummy (copy = pg_catalog.english);
"""


@dataclass
class Tally:
    """What came of one run."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def fetched(version: str) -> Path:
    """The unpacked source distribution, with what is changed in it."""
    tree = source("sqlalchemy", version, BUILD)
    (tree / "pgproto_requirements.py").write_text(REQUIREMENTS)
    (tree / "test" / "dialect" / "test_suite.py").write_text(SUITE)
    values = tree / "test" / "dialect" / "postgresql" / "test_types.py"
    values.write_text(values.read_text().replace(INET, INET.replace("]", ', "+pgproto", "+pgproto_async"]')))
    setup = tree / "setup.cfg"
    # The command line's --requirements is overwritten by this file.
    setup.write_text(
        setup.read_text().replace(
            "test.requirements:DefaultRequirements", "pgproto_requirements:Requirements"
        )
    )
    return tree


def reported(tree: str, dialect: str, part: str) -> Path:
    """Where the report of a run is."""
    return BUILD / f"{tree}-{dialect}-{Path(part).stem}.xml"


def run(
    tree: Path, dialect: str, part: str, server: PostgresServer, arguments: list[str], again: bool
) -> Tally:
    """One part of the tests with one dialect."""
    report = reported(tree.name, dialect, part)
    before = ElementTree.parse(report) if again else None
    if before is not None:
        arguments = [
            "-k",
            " or ".join(name.partition(".")[2].partition("[")[0] for name in tally(report).failed),
        ]
    report.unlink(missing_ok=True)
    url = f"postgresql+{dialect}://scott:tiger@127.0.0.1:{server.port}/test"
    roots = [str(ROOT / name) for name in ("", "transports", "integrations")]
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "--dburi", url]
    command += ["--maxfail=100000", f"--junitxml={report}", "-o", "addopts=-p warnings -p logging", part]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tree / "lib"), *roots])}
    log = report.with_suffix(".log")
    with log.open("w") as output:
        subprocess.run(
            [*command, *arguments], cwd=tree, env=environment, stdout=output, stderr=output, check=False
        )
    if not report.exists():
        raise SystemExit(f"nothing was run: see {log}")
    if before is not None:
        merge(before, report)
    return tally(report)


def merge(before: ElementTree.ElementTree[Any], report: Path) -> None:
    """Put what has run again in the place of what ran before."""
    anew = {_key(case): case for case in ElementTree.parse(report).iter("testcase")}
    for suite in before.iter("testsuite"):
        suite[:] = [anew.get(_key(case), case) for case in suite]
    before.write(report)


def _key(case: ElementTree.Element) -> tuple[str | None, str | None]:
    return case.get("classname"), case.get("name")


def tally(report: Path) -> Tally:
    """The results in a file of JUnit."""
    found = Tally()
    for case in ElementTree.parse(report).iter("testcase"):
        found.seconds += float(case.get("time", "0"))
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            where = (case.get("classname") or "").rpartition(".")[2]
            found.failed.append(re.sub(r"_postgresql\+\w+", "", f"{where}.{case.get('name')}"))
        elif skipped is not None and skipped.get("type") != "pytest.xfail":
            reason = (skipped.get("message") or "").partition(" : ")[2] or skipped.get("message") or ""
            found.skipped[reason] = found.skipped.get(reason, 0) + 1
        else:
            found.passed += 1
    return found


def why(name: str) -> str | None:
    """Why a test fails, if that is known and not the dialect's doing."""
    return next((reason for test, reason in KNOWN.items() if test in name), None)


def lines(results: dict[tuple[str, str, str], Tally]) -> list[str]:
    """The table, what failed, and why the rest was skipped."""
    made = ["| SQLAlchemy | tests | dialect | passed | failed | skipped |", "|---|---|---|---|---|---|"]
    for (version, part, dialect), found in results.items():
        skipped = sum(found.skipped.values())
        made.append(
            f"| {version} | {part} | {dialect} | {found.passed:,} | {len(found.failed)} | {skipped} |"
        )
    made += ["", "Failed:", ""]
    failed: dict[tuple[str, str], list[str]] = {}
    for (version, _, dialect), found in results.items():
        for name in found.failed:
            failed.setdefault((name, version), []).append(dialect)
    for (name, version), where in failed.items():
        made.append(f"- `{name}` on {version} with {', '.join(where)}: {why(name) or 'to be looked at'}")
    made += ["", "Skipped with pgproto, by SQLAlchemy's own requirements:", ""]
    reasons: dict[str, int] = {}
    for (version, _, dialect), found in results.items():
        if (version, dialect) == (VERSIONS[0], DIALECTS[0]):
            for reason, count in found.skipped.items():
                reasons[reason] = reasons.get(reason, 0) + count
    made += [f"- {count}: {reason}" for reason, count in sorted(reasons.items(), key=lambda each: -each[1])]
    return made


def write_table() -> None:
    """Write the page's table from the reports."""
    results: dict[tuple[str, str, str], Tally] = {}
    for version in VERSIONS:
        for part in PARTS:
            for dialect in DIALECTS:
                report = reported(f"sqlalchemy-{version}", dialect, PARTS[part])
                if report.exists():
                    results[version, part, dialect] = tally(report)
    write_results(PAGE, START, END, lines(results))


def main() -> int:
    """Run what was asked for; the number of tests that failed with ours, but for those in `KNOWN`."""
    parser = argparse.ArgumentParser(prog="python -m tests.sqlalchemy_dialect")
    parser.add_argument("--version", action="append", choices=VERSIONS)
    parser.add_argument("--dialect", action="append", choices=(*DIALECTS, "psycopg_async", "asyncpg"))
    parser.add_argument("--part", action="append", choices=tuple(PARTS))
    parser.add_argument("--chosen", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--table", action="store_true")
    options, arguments = parser.parse_known_args()
    everything = not (options.version or options.dialect or options.part or options.chosen or arguments)
    if options.chosen:
        options.version = options.version or [VERSIONS[0]]
        options.dialect = options.dialect or list(DIALECTS[:2])
        arguments += ["-k", CHOSEN]
    if options.table:
        write_table()
        return 0
    results: dict[tuple[str, str, str], Tally] = {}
    with PostgresServer("18") as server:
        server.query(DATABASE.split(";")[0])
        server.query(DATABASE.split(";")[1])
        server.query(SCHEMAS, dbname="test")
        for version in options.version or VERSIONS:
            tree = fetched(version)
            for part in options.part or PARTS:
                for dialect in options.dialect or DIALECTS:
                    found = run(tree, dialect, PARTS[part], server, arguments, options.again)
                    results[version, part, dialect] = found
                    print(version, part, dialect, "passed", found.passed, "failed", len(found.failed))
                    print(*(f"    {name}" for name in found.failed), sep="\n", flush=True)
    if everything:
        write_table()
    ours = [found for (_, _, dialect), found in results.items() if dialect.startswith("pgproto")]
    return min(sum(not why(name) for found in ours for name in found.failed), 100)


if __name__ == "__main__":
    sys.exit(main())
