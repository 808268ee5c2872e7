"""Each example of docs/command-line.md is run, and prints what stands there, but for numbers."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/command-line.md").read_text()
NUMBER = re.compile(r"\d+(?:\.\d+)*")


def examples() -> list[tuple[str, str]]:
    """The commands, and what they print."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            found.append((command, shown))
    return found


def test_there_are_some() -> None:
    names = {name for command, _ in examples() for name in re.findall(r"-m pgproto ([\w-]+)", command)}
    assert names == {"ping", "explain-dsn", "trace", "decode"}


@pytest.mark.parametrize(("command", "shown"), examples(), ids=[command for command, _ in examples()])
def test_an_example(pg18: PostgresServer, command: str, shown: str) -> None:
    pg18.query("drop database if exists app with (force)")
    pg18.query("create database app")
    pg18.query("do $$ begin create role app login; exception when duplicate_object then null; end $$")
    place = f"127.0.0.1:{pg18.port}"
    there = command.replace("@db/", f"@{place}/").replace("host=db ", f"host=127.0.0.1 port={pg18.port} ")
    there = command if "explain-dsn" in command else there
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": "/nonexistent", "PGSSLMODE": "disable"}
    if "explain-dsn" in command:
        del environment["PGSSLMODE"]
    done = subprocess.run(
        ["bash", "-c", there.replace("python ", f"{shlex.quote(sys.executable)} ")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    printed = done.stdout.replace(place, "db:5432")
    if done.returncode:
        printed += f"[exit status {done.returncode}]\n"
    assert NUMBER.sub("0", printed) == NUMBER.sub("0", shown)
