"""psql and our own client talk to a server that has no database."""

from __future__ import annotations

import selectors
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pgproto_blocking as pg
from pgproto import Batch, ConnectError, Outcome, PostgresError, sqlstates
from tests.embedding.fake_server import PASSWORD, USER
from tests.support.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
DEADLINE = 60.0


@pytest.fixture
def port() -> Iterator[int]:
    command = [sys.executable, "-m", "tests.embedding.fake_server"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                assert selector.select(DEADLINE), "the server does not listen"
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def dsn(port: int, password: str = PASSWORD) -> str:
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/any"


def test_our_client(port: int) -> None:
    with pg.connect(dsn(port)) as conn:
        assert conn.fetch("count 3") == [("0",), ("1",), ("2",)]
        assert conn.fetchrow("echo $1 $2", "x", None) == ("x", None)
        with pytest.raises(PostgresError, match='no answer to "drop"') as caught:
            conn.execute("drop")
        assert caught.value.outcome is Outcome.FAILED
        batch = Batch(atomic=False)
        items = [batch.queue(text) for text in ("count 1", "count x", "count 2")]
        conn.send_batch(batch)
        assert [item.outcome for item in items] == [Outcome.COMMITTED, Outcome.FAILED, Outcome.COMMITTED]
        (result,) = conn.script("count 2")
        assert [tuple(row) for row in result.rows] == [("0",), ("1",)]
    with pg.Pool(dsn(port), reset="never") as pool:
        assert pool.fetchval("echo $1", "pool") == "pool"


def test_a_wrong_password(port: int) -> None:
    with pytest.raises(ConnectError) as caught:
        pg.connect(dsn(port, "wrong"))
    assert isinstance(caught.value.__cause__, sqlstates.InvalidPassword)


def test_psql(port: int, pg18: PostgresServer) -> None:
    done = subprocess.run(
        [pg18.bin / "psql", "-X", "-A", "-t", dsn(port)],
        input=b"count 2;\nnonsense;\necho $1 $2 \\bind one two \\g\n",
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.stdout.split() == [b"0", b"1", b"one|two"], done.stderr
    assert b'no answer to "nonsense"' in done.stderr
