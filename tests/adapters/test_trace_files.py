"""The trace in files: by a path, by a file, by the environment; for every adapter."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import pytest

from pgproto import ConfigError
from pgproto_pytest import Driver
from pgproto_sockets.tracing import VARIABLE, tracer
from tests.support.drivers import EVERY
from tests.support.postgres import PostgresServer

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\t(\d+)\t([FB]\t\d+\t\w+.*)\n")


def lines_of(text: str) -> list[tuple[int, str]]:
    """Sessions and lines; all of the text is that."""
    found = [LINE.fullmatch(line) for line in text.splitlines(keepends=True)]
    assert all(found)
    return [(int(match[1]), match[2]) for match in found if match]


@pytest.mark.parametrize("driver", EVERY, ids=repr)
def test_a_trace_of_every_connection(
    driver: Driver, pg18: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_path, by_environment, by_file = tmp_path / "path", tmp_path / "environment", io.StringIO()
    monkeypatch.setenv(VARIABLE, str(by_environment))
    sessions: list[int] = []

    async def scenario(pg: Driver) -> None:
        for trace in (by_path, str(by_path), by_file, None):
            async with pg.connect(pg18.dsn(), trace=trace) as conn:
                assert await conn.fetchval("select 'seen'") == "seen"
                sessions.append(conn.engine.session)
        async with pg.Pool(pg18.dsn(), min_size=1, max_size=1) as pool:
            assert await pool.fetchval("select 'seen'") == "seen"

    driver.run(scenario)
    texts = [by_path.read_text(), by_file.getvalue(), by_environment.read_text()]
    lines = [lines_of(text) for text in texts]
    found = [{session for session, _ in each} for each in lines]
    assert found[:2] == [set(sessions[:2]), {sessions[2]}]
    assert len(found[2]) == 2
    assert sessions[3] in found[2]
    for each in lines:
        assert each[0][1].startswith("F\t")
        assert "StartupMessage" in each[0][1] or "SSLRequest" in each[0][1]
        assert [text for _, text in each if "'seen'" in text and text.startswith("F")]
        assert each[-1][1] == "F\t4\tTerminate"


@pytest.mark.parametrize("trace", [1, object(), b"path"])
def test_what_is_nothing_to_write_to(trace: Any) -> None:
    with pytest.raises(TypeError, match="expected a path, a text file or a function"):
        tracer(trace)


def test_a_path_that_cannot_be_written_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trace: cannot write to .*: Is a directory"):
        tracer(tmp_path)


def test_no_trace_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert tracer(None) is None
    monkeypatch.setenv(VARIABLE, "")
    assert tracer(None) is None
    assert VARIABLE not in os.environ or not os.environ[VARIABLE]
