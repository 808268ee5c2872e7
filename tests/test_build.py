"""The tests run on the build that was asked for, with no file of the other build.

A checkout on the path before a compiled wheel makes every test pass on the wrong build, in silence.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import pgproto
from hatch_build import compiled_files

ROOT = Path(__file__).parents[1]
ASKED = os.environ.get("PGPROTO_BUILD", "pure")


def test_it_is_the_build_that_was_asked_for() -> None:
    assert pgproto.build == ASKED
    assert pgproto.__file__ is not None
    assert (Path(pgproto.__file__).parents[1] == ROOT) == (ASKED == "pure")


def modules() -> dict[str, str]:
    """The names of all modules of the package, and the files that they were loaded from."""
    found = {}
    for info in pkgutil.walk_packages(pgproto.__path__, "pgproto."):
        module = importlib.import_module(info.name)
        assert module.__file__ is not None
        found[info.name] = module.__file__
    return found


def test_what_is_compiled_and_what_is_not() -> None:
    native = {name for name, file in modules().items() if not file.endswith(".py")}
    names = {file.removesuffix(".py").replace("/", ".") for file in compiled_files(ROOT)}
    assert native == (names if ASKED == "compiled" else set())


def test_processes_that_tests_start_have_the_same_build() -> None:
    asked = [sys.executable, "-c", "import pgproto, pgproto_blocking; print(pgproto.build)"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ASKED


def test_the_adapters_come_from_the_same_place() -> None:
    for name in ("pgproto_asyncio", "pgproto_trio", "pgproto_blocking", "pgproto_sockets", "pgproto_pytest"):
        module = importlib.import_module(name)
        assert module.__file__ is not None
        assert (ROOT / "transports" in Path(module.__file__).parents) == (ASKED == "pure")


@pytest.mark.skipif(ASKED == "pure", reason="nothing is compiled here")
def test_the_compiled_build_needs_nothing_of_the_compiler() -> None:
    modules()
    assert not {
        name for name in sys.modules if name.partition(".")[0] in {"mypy_extensions", "librt", "mypyc"}
    }
