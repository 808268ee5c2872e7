"""PostgreSQL's own programs through the proxy: their output is the same as without it."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgproto_pytest.process import wait_until
from tests.support.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
DEADLINE = 60.0


@pytest.fixture
def proxy_port(pg18: PostgresServer) -> Iterator[int]:
    """A proxy before the server, in a process of its own: its port."""
    command = [sys.executable, "-m", "tests.embedding.proxy", pg18.host, str(pg18.port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                assert selector.select(DEADLINE), "the proxy does not listen"
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def client(server: PostgresServer, port: int, program: str, *arguments: str, text: bytes = b"") -> bytes:
    """What one of PostgreSQL's programs prints, errors included."""
    binary = server.bin / program
    target = ["-h", server.host, "-p", str(port), "-U", "postgres"]
    done = subprocess.run(
        [binary, *target, *arguments],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=DEADLINE,
        cwd=server.directory,
        env={**os.environ, "PGSSLMODE": "prefer"},
        check=False,
    )
    return done.stdout


SCRIPT = rb"""
set client_encoding to latin1;
create temp table "caf\xe9" (id int, drink text);
copy "caf\xe9" from stdin;
1	th\xe9
2	\N
\.
copy "caf\xe9" from stdin;
no number
\.
select * from "caf\xe9";
copy "caf\xe9" to stdout;
select 1; select 1/0; select 2;
listen ch;
notify ch, 'caf\xe9';
do $$ begin raise notice 'caf\xe9'; end $$;
select '\xe9' from nowhere;
select $1, $2 \bind 1 x \g
select 1 as "\xe9" \gdesc
select generate_series(1, 5000);
\set FETCH_COUNT 100
select generate_series(1, 1000);
"""


def test_psql_prints_the_same(pg18: PostgresServer, proxy_port: int) -> None:
    script = SCRIPT.replace(rb"\xe9", b"\xe9")
    outputs = [
        client(pg18, port, "psql", "-X", "-d", "postgres", text=script) for port in (pg18.port, proxy_port)
    ]
    assert b'relation "nowhere" does not exist' in outputs[0]
    assert outputs[0].count(b"th\xe9") == 2
    direct, forwarded = (
        # Asynchronous notification "ch" with payload "..." received from server process with PID n.
        [line for line in output.splitlines() if b"received from server process" not in line]
        for output in outputs
    )
    assert forwarded == direct


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench_runs(pg18: PostgresServer, proxy_port: int, mode: str, tmp_path: Path) -> None:
    script = tmp_path / "select.sql"
    script.write_text("\\set n random(1, 1000)\nselect :n, repeat('x', :n);\n")
    run = ("-n", "-M", mode, "-c", "3", "-t", "50", "-f", str(script), "postgres")
    output = client(pg18, proxy_port, "pgbench", *run)
    assert b"number of transactions actually processed: 150/150" in output
    assert b"number of failed transactions: 0 " in output


def test_pgbench_runs_pipelines(pg18: PostgresServer, proxy_port: int, tmp_path: Path) -> None:
    script = tmp_path / "pipeline.sql"
    script.write_text("\\startpipeline\n" + "select 1;\nselect 2;\n\\syncpipeline\n" * 20 + "\\endpipeline\n")
    output = client(
        pg18, proxy_port, "pgbench", "-n", "-M", "extended", "-t", "20", "-f", str(script), "postgres"
    )
    assert b"number of transactions actually processed: 20/20" in output


def test_pg_dump_writes_the_same(pg18: PostgresServer, proxy_port: int) -> None:
    pg18.query("create table proxied as select n, repeat('x', n % 100) as x from generate_series(1, 3000) n")
    try:
        outputs = [
            client(pg18, port, "pg_dump", "-t", "proxied", "postgres") for port in (pg18.port, proxy_port)
        ]
    finally:
        pg18.query("drop table proxied")
    direct, forwarded = (
        [line for line in output.splitlines() if b"restrict" not in line] for output in outputs
    )
    assert len(direct) > 3000
    assert forwarded == direct


def test_a_cancel_request_gets_through(pg18: PostgresServer, proxy_port: int) -> None:
    """psql sends one at SIGINT; `statement_timeout` is no part of it."""
    binary = pg18.bin / "psql"
    target = ["-h", pg18.host, "-p", str(proxy_port), "-U", "postgres", "-XAt", "-d", "postgres"]
    with subprocess.Popen(
        [binary, *target], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\\echo ready\nselect pg_sleep(300);\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"
        sleeping = "select count(*) from pg_stat_activity where query like 'select pg_sleep(300)%'"
        wait_until(lambda: pg18.query(sleeping) == [["1"]], DEADLINE, "the query runs")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(b"", DEADLINE)
    assert b"canceling statement due to user request" in output


def test_a_server_that_is_not_there_ends_the_session(pg18: PostgresServer, proxy_port: int) -> None:
    output = client(pg18, proxy_port, "psql", "-X", "-d", "nosuchdatabase", "-c", "select 1")
    assert b'database "nosuchdatabase" does not exist' in output
