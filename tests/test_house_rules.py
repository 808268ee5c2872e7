"""The rules of the house that a machine can hold: sizes, escapes from the type checker, paths, sleeps.

Docstrings are the business of ruff (rules D1) and, for what is exported, of test_exports.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE_ROOTS = ("pgproto", "transports", "integrations", "tests", "benchmarks", "demo", "examples")
LINE_LIMIT = 700

ESCAPES = re.compile(
    r"type:\s*ignore|pyright:\s*ignore|(?<!\.)\bcast\(|typing\.cast|\bimport cast\b|pragma: no cover"
)
# Where the source was written is nobody's business: home directories and checkouts.
MACHINE_PATHS = re.compile(r"(?<![\w.~$}/-])/(?:root|work|Users/\w+|home/\w+)/")
SLEEP = re.compile(r"\btime\.sleep\(")
# Bounded polling loops on what has no event to wait for: that a process is ready, that a peer has read.
MAY_SLEEP = {"transports/pgproto_pytest/process.py", "tests/support/scripted.py"}

# What is compiled has plain classes; mypyc does not compile these, or makes them slow.
NOT_COMPILED = {
    "pgproto/errors.py",
    "pgproto/interpreters.py",
    "pgproto/types/figures.py",
}
NOT_IN_COMPILED = {
    "dataclasses": None,
    "collections": {"namedtuple"},
    "typing": {"NamedTuple", "Protocol", "cast"},
}


def python_files(*roots: str) -> Iterator[Path]:
    for root in roots or SOURCE_ROOTS:
        yield from sorted((ROOT / root).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tracked_files() -> list[Path]:
    """Every text file that is, or is about to be, in the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.CalledProcessError):
        return [*python_files(), *ROOT.glob("*.md"), *ROOT.glob("*.toml"), ROOT / "Makefile"]
    return [path for line in done.stdout.splitlines() if (path := ROOT / line).is_file()]


def test_no_file_is_longer_than_the_limit() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in python_files()}
    assert "tests/test_house_rules.py" in lengths
    assert {path: length for path, length in lengths.items() if length > LINE_LIMIT} == {}


def test_the_core_has_no_escape_from_the_type_checker() -> None:
    found = [
        f"{name(path)}:{number}: {line.strip()}"
        for path in python_files("pgproto")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if ESCAPES.search(line)
    ]
    assert found == []


def test_every_file_defers_annotations_and_opens_with_its_theory() -> None:
    wrong = []
    for path in python_files("pgproto", "transports", "integrations"):
        text = path.read_text()
        if not ast.get_docstring(ast.parse(text)):
            wrong.append(f"{name(path)}: no docstring")
        if "import" in text and "from __future__ import annotations" not in text:
            wrong.append(f"{name(path)}: from __future__ import annotations")
    assert wrong == []


def test_inside_of_pgproto_imports_are_relative() -> None:
    found = [
        f"{name(path)}:{node.lineno}"
        for path in python_files("pgproto")
        # The client's files are also the text of the blocking client, which lies one folder deeper.
        if not name(path).startswith("pgproto/client/")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").startswith("pgproto")
    ]
    assert found == []


def test_compiled_files_use_plain_classes() -> None:
    found = []
    for path in python_files("pgproto"):
        if name(path) in NOT_COMPILED or name(path).startswith(
            ("pgproto/client/", "pgproto/config/", "pgproto/sqlstates/", "pgproto/testing/")
        ):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found += [f"{name(path)}: {a.name}" for a in node.names if a.name == "dataclasses"]
            elif isinstance(node, ast.ImportFrom) and node.module in NOT_IN_COMPILED:
                names = NOT_IN_COMPILED[node.module]
                found += [f"{name(path)}: {a.name}" for a in node.names if names is None or a.name in names]
            elif (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and any("\ud800" <= letter <= "\udfff" for letter in node.value)
            ):
                found.append(f"{name(path)}:{node.lineno}: a surrogate, which mypyc takes in no literal")
    assert found == []


def test_no_flow_waits_inside_of_a_handler() -> None:
    """Compiled (mypyc 2.4.1), what is handled at a yield stays the thread's exception for ever: every later
    error gets it for its __context__."""
    found = []
    for path in python_files("pgproto"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Try):
                blocks = [*node.finalbody, *(line for handler in node.handlers for line in handler.body)]
                inner = [each for line in blocks for each in ast.walk(line)]
                found += [name(path) for each in inner if isinstance(each, (ast.Yield, ast.YieldFrom))]
    assert found == []


def test_no_paths_of_the_machine_it_was_written_on() -> None:
    own = Path(__file__).resolve()
    found = []
    for path in tracked_files():
        if path == own:
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [
            f"{name(path)}:{number}: {line.strip()}"
            for number, line in enumerate(text.splitlines(), 1)
            if MACHINE_PATHS.search(line) or str(ROOT) + "/" in line
        ]
    assert found == []


def test_tests_wait_for_events_and_not_for_time() -> None:
    own = name(Path(__file__).resolve())
    found = [
        f"{name(path)}:{number}: {line.strip()}"
        for path in python_files("pgproto", "transports", "integrations", "tests")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if SLEEP.search(line) and name(path) not in MAY_SLEEP | {own}
    ]
    assert found == []


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        (ESCAPES, "x = y  # type: ignore[arg-type]", "the type of what we ignore"),
        (ESCAPES, "return cast(int, x)", "broadcast(x)"),
        (MACHINE_PATHS, "see /root/" + "x/y.py", "https://example.org/root/x"),
        (MACHINE_PATHS, '"/home/' + 'me/x"', "~/work/x"),
        (SLEEP, "time.sleep(1)", "clock.sleep(1)"),
    ],
)
def test_the_rules_find_what_they_are_for(rule: re.Pattern[str], bad: str, good: str) -> None:
    assert rule.search(bad)
    assert not rule.search(good)
