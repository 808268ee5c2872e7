"""Start a PostgreSQL server, migrate, and ask: `python examples/service/run.py`.

With DATABASE_URL in the environment that database is used instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

sys.path.insert(0, os.fspath(Path(__file__).parent))


@contextlib.contextmanager
def database() -> Iterator[str]:
    """A server for as long as the block lasts."""
    if "DATABASE_URL" in os.environ:
        yield os.environ["DATABASE_URL"]
        return
    from pgproto_pytest.postgres import PostgresServer

    with PostgresServer() as server:
        yield server.dsn()


async def ask(dsn: str) -> dict[str, Any]:
    """Some requests, without a port: what was answered, and the spans of the last transfer."""
    from bank.app import create_app

    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    app = create_app(dsn, tracer_provider=provider)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://bank") as http,
    ):
        one = (await http.post("/accounts", json={"owner": "one", "balance": "100.00"})).json()["id"]
        two = (await http.post("/accounts", json={"owner": "two"})).json()["id"]
        statuses: list[int] = []
        trace: list[str] = []
        for key, amount in (("rent", "30.00"), ("rent", "30.00"), ("greed", "1000.00")):
            spans.clear()
            body = {"source": one, "target": two, "amount": amount}
            answer = await http.post("/transfers", json=body, headers={"Idempotency-Key": key})
            statuses.append(answer.status_code)
            trace = trace or [span.name for span in spans.get_finished_spans()]
        accounts = [(await http.get(f"/accounts/{number}")).json() for number in (one, two)]
    *queries, request = trace
    return {
        "transfers": statuses,
        "balances": [account["balance"] for account in accounts],
        "trace": [request, *(f"  {query}" for query in queries)],
    }


def main() -> None:
    """Migrate, ask, and print what was answered."""
    from bank.migrating import upgrade

    with database() as dsn:
        upgrade(dsn)
        print(json.dumps(asyncio.run(ask(dsn)), indent=2))


if __name__ == "__main__":
    main()
