"""`python -m pgproto` is the command line, and to import it runs nothing."""

from __future__ import annotations

import importlib
import runpy
import sys

import pytest

import pgproto


def test_it_is_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["pgproto", "bench"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(f"{pgproto.__path__[0]}/__main__.py", run_name="__main__")
    assert caught.value.code == 0
    assert "benchmarks" in capsys.readouterr().out


def test_to_import_it_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    importlib.import_module("pgproto.__main__")
    assert capsys.readouterr().out == ""
