"""`python -m bank serve` as a process: events over HTTP, and the end by SIGTERM; and `run.py`."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from tests.service.client import Client
from tests.service.conftest import DATABASE, SERVICE
from tests.service.processes import bank
from tests.service.test_service import WAITING
from tests.support.postgres import PostgresServer


@asynccontextmanager
async def served(dsn: str) -> AsyncIterator[tuple[subprocess.Popen[str], Client]]:
    """The service on a port of its own."""
    process = bank(dsn, "serve", "--port", "0", stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        log: list[str] = []
        while not (port := re.search(r"running on http://127.0.0.1:(\d+)", log[-1] if log else "")):
            log.append(await asyncio.to_thread(process.stderr.readline))
            assert log[-1], "".join(log)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port[1]}", timeout=30) as http:
            yield process, Client(http)
    finally:
        process.kill()
        process.communicate()


async def told(lines: AsyncIterator[str], name: str) -> str:
    """The data of the next event of this name."""
    async with asyncio.timeout(30):
        while await anext(lines) != f"event: {name}":
            pass
        return (await anext(lines)).removeprefix("data: ")


def test_a_stream_of_events_until_the_server_ends(empty: str, pg18: PostgresServer) -> None:
    async def scenario() -> None:
        async with served(empty) as (process, client):
            one, two = await client.account("10"), await client.account("10")
            async with client.http.stream("GET", "/events") as stream:
                lines = stream.aiter_lines()
                assert await anext(lines) == ": you are listening"
                assert (await client.transfer(one, two, "100")).status_code == 409  # is no event
                assert (await client.transfer(one, two, "2.50")).status_code == 201
                event = json.loads(await told(lines, "transfer"))
                assert (event["source"], event["target"], event["amount"]) == (one, two, "2.50")
                pg18.query(
                    "select pg_terminate_backend(pid) from pg_stat_activity where query ~* '^listen'",
                    dbname=DATABASE,
                )
                await told(lines, "gap")
                assert (await client.transfer(two, one, "1.00")).status_code == 201
                assert json.loads(await told(lines, "transfer"))["amount"] == "1.00"
                # What has not ended goes on to its end, and the stream ends.
                lock = await asyncio.create_subprocess_exec(
                    *(str(pg18.bin / "psql"), "-qAt", pg18.dsn(dbname=DATABASE)),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                )
                assert lock.stdin is not None
                assert lock.stdout is not None
                lock.stdin.write(b"begin; lock table transfers in exclusive mode; select 'locked';\n")
                assert await lock.stdout.readline() == b"locked\n"
                late = asyncio.create_task(client.transfer(one, two, "0.75"))
                while not await asyncio.to_thread(pg18.query, WAITING, dbname=DATABASE):
                    pass
                process.send_signal(signal.SIGTERM)
                async for _ in lines:
                    pass
                assert process.poll() is None
                await lock.communicate(b"rollback;\n")
                assert (await late).status_code == 201
            await asyncio.to_thread(process.wait, 20)
            assert process.returncode in (0, -signal.SIGTERM)

    asyncio.run(scenario())


def test_the_one_command(pg18: PostgresServer) -> None:
    command = [sys.executable, "-W", "error", str(SERVICE / "run.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["transfers"] == [201, 200, 409]
    assert told["balances"] == ["70.00", "30.00"]
    assert told["trace"][0] == "POST /transfers"
    assert told["trace"][-1].startswith("  COMMIT")
