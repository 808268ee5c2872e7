"""The pytest plugin, as a stranger's tests have it: in a folder of their own, in a process of their own.

How it is found where it is installed is a test of the wheel: tests/test_packaging.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from pgproto_pytest import AsyncioDriver, Behaviour, Database, Driver, Scenario, Server
from pgproto_pytest.postgres import binaries, missing
from tests.support.postgres import PostgresServer
from tests.support.readme import Block, blocks

KIT, APPLICATION = sorted(blocks("tests"), key=lambda block: block.page)
# An adapter that is wrong in one place: the end of a connection's block, or what fetchval returns.
WRONG = """
import pgproto_asyncio
from pgproto_pytest import AsyncioDriver, conformance


class Wrong:
    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)

    async def fetchval(self, *args, **options):
        return await self.inner.fetchval(*args, **options) {and_a_half}

    async def __aenter__(self):
        return Wrong(await self.inner.__aenter__())

    async def __aexit__(self, *exc):
        await self.inner.__aexit__(*exc)
        return {swallows}


class Adapter:
    @staticmethod
    def connect(dsn, **options):
        return Wrong(pgproto_asyncio.connect(dsn, **options))


class MyDriver(AsyncioDriver):
    name = "mine"
    adapter = Adapter


test_behaviour = conformance(MyDriver())
"""
WHERE = """
def test_where(postgres):
    ((name,),) = postgres.query("select current_database()")
    assert name.startswith("pgproto_")
"""


def run_pytest(folder: Path, source: str, *options: str, **environment: str) -> tuple[int, str]:
    """Run a file of tests where nothing else is; the exit code, and what was said."""
    (folder / "test_mine.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-Werror", "-p", "no:cacheprovider"]
    command += ["-p", "pgproto_pytest.plugin"]
    path = os.pathsep.join(each for each in sys.path if each)
    # Without the plugins that happen to be here a process starts faster.
    mine = {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment}
    done = subprocess.run(
        [*command, *options],
        cwd=folder,
        env={**os.environ, **mine},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def databases(server: PostgresServer) -> list[list[str]]:
    return server.query("select datname from pg_database where datname like 'pgproto%'")


def test_the_tests_of_an_application(pg18: PostgresServer, tmp_path: Path) -> None:
    code, said = run_pytest(tmp_path, APPLICATION.source, "--pgproto-dsn", pg18.dsn(), "-v")
    assert code == 0, said
    assert "test_nobody_else_has_seen_it PASSED" in said
    assert databases(pg18) == []


@pytest.mark.slow
def test_each_worker_has_a_server(pg18: PostgresServer, tmp_path: Path) -> None:
    assert pg18.running  # so a server can be embedded here
    code, said = run_pytest(tmp_path, APPLICATION.source, "-p", "xdist", "-n", "2", "-v")
    assert code == 0, said
    assert said.count(" PASSED ") == 2


def test_a_driver_is_called_as_its_author_likes(pg18: PostgresServer, tmp_path: Path) -> None:
    source = KIT.source.replace('"mine"', '"Mein Träger, the 1st: ' + "x" * 40 + '"')
    code, said = run_pytest(
        tmp_path, source, "--pgproto-dsn", pg18.dsn(), "-v", "-k", "y12 or y15 or n06 or l_"
    )
    assert code == 0, said
    assert said.count(" PASSED ") > 3


def test_behaviours_are_chosen_by_name(pg18: PostgresServer, tmp_path: Path) -> None:
    code, said = run_pytest(tmp_path, KIT.source, "--pgproto-dsn", pg18.dsn(), "-v", "-k", "b06 or t_empty")
    assert code == 0, said
    passed = re.findall(r"test_behaviour\[(\w+)-mine\] PASSED", said)
    assert passed == ["b06_empty_batch", "t_empty_transaction"]
    assert databases(pg18) == []


async def quiet(work: Coroutine[Any, Any, None]) -> None:
    """Await it, and say nothing of its errors."""
    with contextlib.suppress(ValueError):
        await work


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (lambda work: None, "the scenario has not come to its end"),
        (lambda work: work.close(), "the scenario has not come to its end"),
        (lambda work: asyncio.run(quiet(work)), "did not raise what the scenario raised"),
    ],
    ids=["nothing", "never begun", "in silence"],
)
def test_a_driver_that_runs_nothing_proves_nothing(run: Callable[[Any], object], says: str) -> None:
    """So does one that keeps what was raised to itself."""

    class Lazy(AsyncioDriver):
        name = "lazy"

        def run(self, scenario: Scenario, *, deadline: float = 10.0) -> None:
            work = scenario(self)
            run(work)
            work.close()

    async def works(pg: Driver, db: Database) -> None:
        raise ValueError

    with pytest.raises(AssertionError, match=says):
        Behaviour(works, 5.0).run(Lazy(), Server("postgresql://nobody@localhost/"))


def test_a_wrong_place_of_the_programs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPROTO_POSTGRES", "/nowhere")
    assert binaries() is None
    assert missing() == "there is no program postgres in /nowhere, which PGPROTO_POSTGRES names"
    assert binaries("18") is not None  # PGPROTO_POSTGRES_18 names its programs


def test_a_wrong_answer_is_found_and_explained(pg18: PostgresServer, tmp_path: Path) -> None:
    source = WRONG.format(and_a_half="+ 0.5", swallows=False)
    code, said = run_pytest(tmp_path, source, "--pgproto-dsn", pg18.dsn(), "-k", "b06_empty")
    assert code == 1, said
    assert "assert 1.5 == 1" in said


def test_an_error_that_is_swallowed_is_found(pg18: PostgresServer, tmp_path: Path) -> None:
    """Without the guard the assertions themselves would be swallowed, and everything would pass."""
    source = WRONG.format(and_a_half="+ 0.5", swallows=True)
    code, said = run_pytest(tmp_path, source, "--pgproto-dsn", pg18.dsn(), "-k", "b06_empty")
    assert code == 1, said
    assert "swallowed AssertionError" in said


@pytest.mark.parametrize("how", ["option", "environment", "settings"])
def test_a_server_that_is_named(pg18: PostgresServer, tmp_path: Path, how: str) -> None:
    """The tests are in a database of their own, which is gone afterwards."""
    dsn = pg18.dsn()
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npgproto_dsn = {dsn if how == 'settings' else ''}\n")
    options = [f"--pgproto-dsn={dsn}"] if how == "option" else []
    environment = dsn if how == "environment" else ""
    code, said = run_pytest(tmp_path, WHERE, *options, PGPROTO_DSN=environment)
    assert code == 0, said
    assert databases(pg18) == []


def test_without_a_server_nothing_is_skipped(tmp_path: Path) -> None:
    nowhere = "import pgproto_pytest.postgres as postgres\npostgres.binaries = lambda version='': None\n"
    (tmp_path / "conftest.py").write_text(nowhere)
    code, said = run_pytest(tmp_path, WHERE)
    assert code == 1, said
    assert "PostgreSQL is not installed" in said
    assert "--pgproto-dsn" in said


def test_a_server_of_the_tests_own(pg18: PostgresServer, tmp_path: Path) -> None:
    mine = f"""
import pytest
from pgproto_pytest import Server

@pytest.fixture
def postgres():
    return Server({pg18.dsn(application_name="mine")!r})

def test_mine(postgres):
    assert postgres.query("show application_name; select 1, null") == [["mine"], ["1", ""]]
    assert postgres.dsn(host="/s", port=1, dbname="x", user=None) == "postgresql:///x?" + \\
        "host=/s&port=1&sslmode=disable&application_name=mine"
"""
    code, said = run_pytest(tmp_path, mine)
    assert code == 0, said


@pytest.mark.parametrize("block", blocks("tests"), ids=str)
def test_the_pages_say_what_is_needed(block: Block) -> None:
    assert "pip install 'pgproto[testing]'" in (Path(__file__).parents[2] / block.page).read_text()
