"""How pgproto_psycopg is chosen: by one call, by an environment variable, and for a program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("psycopg")

ROOT = Path(__file__).parents[2]
TELL = "import psycopg.pq; print(psycopg.pq.PGconn.__module__)"
OURS = "pgproto_psycopg.connection"


def run(*arguments: str, implementation: str | None = None) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "PSYCOPG_IMPL"}
    environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # the roots of pytest's configuration
    if implementation is not None:
        environ["PSYCOPG_IMPL"] = implementation
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)


def told(code: str, implementation: str | None = None) -> str:
    done = run("-c", code, implementation=implementation)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_by_one_call() -> None:
    assert told(f"import pgproto_psycopg; pgproto_psycopg.install(); {TELL}") == OURS
    code = (
        "import os, pgproto_psycopg as p; p.install(); p.install();"
        "print(p.installed(), os.environ.get('PSYCOPG_IMPL'))"
    )
    assert told(code) == "True None"
    assert told(code, "binary") == "True binary"


def test_no_libpq_is_loaded() -> None:
    code = (
        "import pgproto_psycopg; pgproto_psycopg.install(); import psycopg, sys;"
        "maps = open('/proc/self/maps').read();"
        "print('libpq' in maps, 'psycopg_binary' in sys.modules, '_ctypes' in maps)"
    )
    assert told(code).startswith("False False")


def test_by_the_environment_variable() -> None:
    code = f"import pgproto_psycopg; print(pgproto_psycopg.choose()); {TELL}"
    assert told(code, "pgproto") == f"True\n{OURS}"
    assert told(code, "PGProto") == f"True\n{OURS}"
    for other in (None, "binary"):
        assert told(code, other).startswith("False\npsycopg_")
    done = run("-c", "import psycopg", implementation="pgproto")  # without asking us, psycopg refuses
    assert "requested psycopg implementation 'pgproto' unknown" in done.stderr


def test_too_late() -> None:
    code = "import psycopg, pgproto_psycopg as p; print(p.installed()); p.install()"
    done = run("-c", code)
    assert done.stdout == "False\n"
    assert "psycopg is imported already" in done.stderr


def test_a_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"import sys, beside; {TELL}; print(sys.argv[1:], __name__, beside.here)\n")
    (tmp_path / "beside.py").write_text("here = 1\n")
    done = run("-m", "pgproto_psycopg", os.fspath(program), "-x", "y")
    assert done.stdout == f"{OURS}\n['-x', 'y'] __main__ 1\n", done.stderr
    done = run("-m", "pgproto_psycopg", os.fspath(program), implementation="binary")
    assert done.stdout.startswith("psycopg_binary"), done.stderr
    done = run("-m", "pgproto_psycopg", "-m", "timeit", "-n1", "-r1", "import psycopg.pq")
    assert "1 loop" in done.stdout, done.stderr
    for wrong in ([], ["-m"]):
        assert "usage: python -m pgproto_psycopg" in run("-m", "pgproto_psycopg", *wrong).stderr
