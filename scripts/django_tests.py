"""Run Django's own tests on pgproto_psycopg and on psycopg's C implementation, and compare.

    make django                          all modules that are named below; the table goes into docs/psycopg.md
    make django ARGS=--chosen            the part of them that continuous integration runs; nothing is written
    make django ARGS="queries schema"    these modules; nothing is written

Django's source distribution has its tests.  It is fetched by pip into build/django, in the version that is
installed.  A test that fails or is skipped on one side only is a difference, and makes the run fail.
"""

from __future__ import annotations

import collections
import importlib.metadata
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "transports")]

from tests.support.postgres import PostgresServer  # noqa: E402 - after the path
from tests.support.suites import source, write_results  # noqa: E402

FOLDER: Final = ROOT / "build/django"
PAGE: Final = ROOT / "docs/psycopg.md"
BEGIN, END = "<!-- django: begin -->", "<!-- django: end -->"

MODULES: Final = (
    *("postgres_tests", "queries", "transactions", "backends", "schema", "introspection", "migrations"),
    *("async", "transaction_hooks", "select_for_update", "bulk_create", "aggregation", "basic"),
    *("datatypes", "db_functions", "constraints", "indexes", "inspectdb", "raw_query", "model_fields"),
)
CHOSEN: Final = ("transactions", "select_for_update", "raw_query", "async")
SIDES: Final = ("pgproto", "libpq")

SETTINGS: Final = """
import os

DATABASES = {
    alias: {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["DJANGO_HOST"],
        "PORT": os.environ["DJANGO_PORT"],
        "USER": "postgres",
        "NAME": f"django_{os.environ['DJANGO_SIDE']}_{alias}",
    }
    for alias in ("default", "other")
}
SECRET_KEY = "django_tests_secret_key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
"""

# What Django says about a test that it skips.
KINDS: Final = {
    "SQLite|sqlite|Oracle|MySQL|MariaDB|psycopg2": "for another database or driver",
    r"Database has feature\(s\)": "for databases without a feature that PostgreSQL has",
    r"Database doesn't support feature\(s\)": "for databases with a feature that PostgreSQL 15 does not have",
}

_TEST: Final = re.compile(r"^(\w+) \(([\w.]+)\)")
_RAN: Final = re.compile(r"^Ran (\d+) tests? in ([\d.]+)s", re.MULTILINE)


class Side:
    """What one implementation made of a module.

    Attributes:
        ran: the number of tests.
        seconds: how long they took.
        outcomes: what became of each test that did not simply pass.
    """

    def __init__(self, output: str) -> None:
        ran = _RAN.search(output)
        self.ran = int(ran[1]) if ran is not None else 0
        self.seconds = float(ran[2]) if ran is not None else 0.0
        self.outcomes: dict[str, str] = {}
        name = ""
        for line in output.splitlines():
            if test := _TEST.match(line):
                name = test[2]
            if found := re.search(r"\.\.\. (?:.*\s)?(skipped '.*'|skipped \".*\")$", line):
                self.outcomes[name] = found[1]
            if found := re.match(r"^(ERROR|FAIL): (?:\w+ \(([\w.]+)\)|(.*))", line):
                self.outcomes[found[2] or found[3]] = found[1]

    def count(self, *kinds: str) -> int:
        """How many tests had an outcome of these kinds."""
        return sum(outcome.startswith(kinds) for outcome in self.outcomes.values())

    def shown(self) -> str:
        """A cell of the table."""
        failed, skipped = self.count("ERROR", "FAIL"), self.count("skipped")
        return f"{self.ran - failed - skipped} / {failed} / {skipped}"


def fetch() -> Path:
    """The folder of Django's tests."""
    folder = source("django", importlib.metadata.version("django"), FOLDER)
    (folder / "tests/settings_of_pgproto.py").write_text(SETTINGS)
    return folder / "tests"


def run(folder: Path, server: PostgresServer, side: str, module: str) -> Side:
    """Run one module's tests on one side."""
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "transports"), str(ROOT / "integrations")]),
        "DJANGO_SIDE": side,
        "DJANGO_HOST": "127.0.0.1",
        "DJANGO_PORT": str(server.port),
        "PATH": os.pathsep.join([str(server.bin), os.environ["PATH"]]),
    }
    # Programs that the tests start do not know pgproto_psycopg: theirs is psycopg's own choice.
    environ.pop("PSYCOPG_IMPL", None)
    if side == "libpq":
        environ["PSYCOPG_IMPL"] = "binary"
    command = [sys.executable, "-m", "pgproto_psycopg", str(folder / "runtests.py"), "-v", "2", "--noinput"]
    command += ["--parallel", "1", "--settings", "settings_of_pgproto", module]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
    )
    (FOLDER / f"{module}-{side}.log").write_text(done.stdout)
    result = Side(done.stdout)
    if not result.ran:
        raise SystemExit(f"{module} did not run on {side}:\n{done.stdout[-3000:]}")
    return result


def main() -> int:
    """Run, compare, and write the table."""
    arguments = sys.argv[1:]
    modules = CHOSEN if "--chosen" in arguments else tuple(arguments) or MODULES
    folder = fetch()
    rows: list[str] = []
    reasons: collections.Counter[str] = collections.Counter()
    differences: list[str] = []
    both: list[str] = []
    totals = {side: [0, 0, 0] for side in SIDES}
    begun = time.monotonic()
    with PostgresServer("15") as server:
        for module in modules:
            sides = {side: run(folder, server, side, module) for side in SIDES}
            ours, theirs = sides["pgproto"], sides["libpq"]
            times = f"{ours.seconds:.0f} | {theirs.seconds:.0f}"
            rows.append(f"| `{module}` | {ours.shown()} | {theirs.shown()} | {times} |")
            print(rows[-1], flush=True)
            for test in sorted(ours.outcomes.keys() | theirs.outcomes.keys()):
                one, other = ours.outcomes.get(test, "passed"), theirs.outcomes.get(test, "passed")
                if one != other:
                    differences.append(f"`{test}`: {one} on pgproto, {other} on libpq")
                elif not one.startswith("skipped"):
                    both.append(test)
            reasons.update(_reason(each) for each in ours.outcomes.values() if each.startswith("skipped"))
            for side, result in sides.items():
                failed, skipped = result.count("ERROR", "FAIL"), result.count("skipped")
                for index, number in enumerate((result.ran - failed - skipped, failed, skipped)):
                    totals[side][index] += number
    cells = [" / ".join(map(str, totals[side])) for side in SIDES]
    rows.append(f"| all | {cells[0]} | {cells[1]} | | |")
    print(rows[-1], *differences, f"{time.monotonic() - begun:.0f} s", sep="\n")
    if modules == MODULES:
        write(folder.parent.name, rows, differences, both, reasons)
    return int(bool(differences))


def _reason(skipped: str) -> str:
    """Why a test was skipped, in the words of the page."""
    reason = skipped.removeprefix("skipped ")[1:-1]
    for pattern, kind in KINDS.items():
        if re.search(pattern, reason):
            return kind
    return reason


def write(
    version: str, rows: list[str], differences: list[str], both: list[str], reasons: collections.Counter[str]
) -> None:
    """Put the table into the page."""
    where = f"{version}, Python {sys.version.split()[0]}, PostgreSQL 15"
    lines = [
        f"The last run of `make django`: {where}. Each cell has passed, failed and skipped; `s` are seconds.",
        "",
        "| tests | pgproto | libpq (psycopg's C implementation) | s | s |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]
    if both:
        lines += ["Failed on both:", "", *(f"- `{test}`" for test in both), ""]
    lines += ["Failed or skipped on one side only: " + ("none." if not differences else ""), ""]
    lines += [f"- {each}" for each in differences]
    lines += [""] if differences else []
    lines += ["Why tests were skipped, the same on both sides:", ""]
    lines += [f"- {count}: {reason}" for reason, count in reasons.most_common()]
    write_results(PAGE, BEGIN, END, lines)


if __name__ == "__main__":
    sys.exit(main())
