"""`make bench`, or `python -m benchmarks` in a checkout with the extra `bench` installed.

Prints the tables, and writes JSON and Markdown into benchmarks/results/ (which git ignores).
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from pgproto_blocking import connect
from tests.support.postgres import PostgresServer

from . import report
from .drivers import DRIVERS, FLOOR
from .measure import measure
from .workloads import WORKLOADS

HERE = Path(__file__).parent


def main() -> None:
    """Measure and report."""
    options = _parser().parse_args()
    drivers = [driver for driver in DRIVERS.values() if _wanted(driver.name, options.driver)]
    workloads = [WORKLOADS[name] for name in options.workload or WORKLOADS]
    with _server(options.dsn) as dsn:
        with connect(dsn) as conn:
            version = conn.parameters["server_version"]
        results = measure(drivers, workloads, dsn, options.rounds, _progress)
    _progress("")
    facts = report.circumstances(drivers, version, options.rounds)
    sys.stdout.write(report.as_text(results, facts) + "\n")
    markdown = report.as_markdown(results, facts)
    directory = HERE / "results"
    directory.mkdir(exist_ok=True)
    name = facts["date"].replace(" UTC", "").replace(" ", "T").replace(":", "")
    (directory / f"{name}.json").write_text(report.as_json(results, facts) + "\n")
    (directory / f"{name}.md").write_text(markdown + "\n")
    sys.stdout.write(f"\nbenchmarks/results/{name}.json and .md\n")
    if options.readme:
        report.write_readme(HERE.parent / "README.md", markdown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="pgproto beside its peers")
    parser.add_argument("--rounds", type=int, default=20, help="interleaved rounds (default 20)")
    parser.add_argument(
        "--driver", action="append", metavar="TEXT", help="only drivers with this in their name"
    )
    parser.add_argument("--workload", action="append", choices=list(WORKLOADS), help="only these workloads")
    parser.add_argument("--dsn", help="a server that runs already; by default one is started")
    parser.add_argument("--readme", action="store_true", help="write the tables into README.md as well")
    return parser


def _wanted(name: str, texts: list[str] | None) -> bool:
    return texts is None or name == FLOOR or any(text in name for text in texts)


@contextlib.contextmanager
def _server(dsn: str | None) -> Iterator[str]:
    if dsn is not None:
        yield dsn
        return
    with PostgresServer("18", tls=False) as server:
        yield server.dsn()


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


if __name__ == "__main__":
    main()
