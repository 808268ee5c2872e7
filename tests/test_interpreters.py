"""Subinterpreters: the compiled build refuses to be imported there, the pure one is at home.

The interpreters are made in processes of their own: what goes wrong there may end the process.  They share
the main one's lock, as mod_wsgi's do: CPython lets those load any library.  (Those with a lock of their own
end a process of 3.12.1 after `import decimal` alone.)
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import types
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import pgproto
from pgproto.interpreters import check_interpreter, in_subinterpreter, is_compiled

NATIVE = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"

SHARED = '"legacy"' if sys.version_info >= (3, 13) else "isolated=False"
PROGRAM = f"""
import sys
import {NATIVE} as native

def inside(code):
    interpreter = native.create({SHARED})
    try:
        code = "import sys; sys.path[:] = " + repr(sys.path) + "\\n" + code
        failure = native.run_string(interpreter, code)
    except Exception as error:
        failure = error
    finally:
        native.destroy(interpreter)
    print(str(getattr(failure, "formatted", failure)).partition("\\n")[0])
"""
SUBJECTS = ["pgproto", "pgproto.wire", "pgproto.types.row", "pgproto_blocking"]


def run(code: str) -> list[str]:
    """The lines that a process with `inside` prints."""
    command = [sys.executable, "-c", PROGRAM + code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.holds("D12")
@pytest.mark.skipif(pgproto.build == "pure", reason="the pure build can be imported in a subinterpreter")
@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_compiled_build_refuses_and_the_main_interpreter_is_not_harmed(subject: str) -> None:
    first, build, again, row = run(
        f"inside('import {subject}')\n"
        "import pgproto; print(pgproto.build)\n"
        f"inside('import {subject}')\n"
        "print(pgproto.Row.__module__, pgproto.parse_config('host=h user=u').user)\n"
    )
    assert "ImportError" in first
    assert "cannot be imported in a subinterpreter" in first
    assert again == first
    assert build == "compiled"
    assert row == "pgproto.types.row u"


@pytest.mark.holds("D12")
@pytest.mark.skipif(pgproto.build == "compiled", reason="the compiled build refuses")
def test_the_pure_build_is_imported_in_a_subinterpreter() -> None:
    code = 'inside(\'import pgproto; assert pgproto.parse_config("host=h user=u").user == "u"\')\n'
    assert run(code + "import pgproto; print(pgproto.build)\n" + code) == ["None", "pure", "None"]


@pytest.mark.holds("D12")
def test_which_build_it_is_can_be_seen_before_it_is_loaded(tmp_path: Path) -> None:
    assert is_compiled(pgproto.__path__) == (pgproto.build == "compiled")
    assert not is_compiled([str(tmp_path)])
    assert not is_compiled(package(tmp_path / "pure", ".py"))
    assert is_compiled(package(tmp_path / "compiled", ".py", EXTENSION_SUFFIXES[0])), (
        "it comes before its source"
    )


def package(folder: Path, *suffixes: str) -> list[str]:
    """The path of a package with files of one module."""
    wire = folder / "wire"
    wire.mkdir(parents=True)
    for suffix in suffixes:
        (wire / f"native{suffix}").touch()
    return [str(folder)]


@pytest.mark.holds("D12")
def test_only_the_compiled_build_in_a_subinterpreter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = package(tmp_path, EXTENSION_SUFFIXES[0])
    assert not in_subinterpreter()
    check_interpreter(path)
    module = types.SimpleNamespace(get_main=lambda: 0, get_current=lambda: 1)
    monkeypatch.setitem(sys.modules, NATIVE, module)
    assert in_subinterpreter()
    check_interpreter([])
    with pytest.raises(ImportError, match="cannot be imported in a subinterpreter") as caught:
        check_interpreter(path)
    assert caught.value.name == "pgproto"


@pytest.mark.holds("D12")
def test_a_python_without_subinterpreters_has_the_main_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, NATIVE, None)
    with pytest.raises(ImportError):
        importlib.import_module(NATIVE)
    assert not in_subinterpreter()
    check_interpreter(package(tmp_path, EXTENSION_SUFFIXES[0]))
