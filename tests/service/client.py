"""A client of the service, over ASGI or HTTP, and what the SDK has collected of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx
from bank.app import create_app
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Collected:
    """The spans that have ended, and the metrics."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meter_provider = MeterProvider([self._reader])

    def spans(self) -> list[ReadableSpan]:
        """Those since the last call."""
        spans = list(self._exporter.get_finished_spans())
        self._exporter.clear()
        return spans

    def points(self, name: str) -> list[Any]:
        """The data points of a metric."""
        data: Any = self._reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        metrics = [metric for scope in scopes for metric in scope.metrics if metric.name == name]
        return [point for metric in metrics for point in metric.data.data_points]


class Client:
    """Requests to the service."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def account(self, balance: str, owner: str = "somebody") -> int:
        """Open an account; its number."""
        answer = await self.http.post("/accounts", json={"owner": owner, "balance": balance})
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    async def balances(self, accounts: Sequence[int]) -> list[Decimal]:
        """What is on the accounts."""
        answers = [await self.http.get(f"/accounts/{number}") for number in accounts]
        return [Decimal(answer.json()["balance"]) for answer in answers]

    async def transfer(self, source: int, target: int, amount: str, key: str | None = None) -> httpx.Response:
        """Move money."""
        body = {"source": source, "target": target, "amount": amount}
        return await self.http.post(
            "/transfers", json=body, headers={"Idempotency-Key": key or str(uuid.uuid4())}
        )

    async def transfers(self, **filters: Any) -> list[dict[str, Any]]:
        """Every page of the list."""
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["id"] if found else 0
            answer = await self.http.get("/transfers", params={"limit": 100, **filters, "after": after})
            assert answer.status_code == 200, answer.text
            if not answer.json():
                return found
            found += answer.json()

    async def until_done(self, source: int, target: int, amount: str, key: str) -> list[httpx.Response]:
        """Repeat a transfer, as its answers say, until there is one; all answers."""
        answers = [await self.transfer(source, target, amount, key)]
        while answers[-1].status_code == 503:
            await asyncio.sleep(float(answers[-1].headers["Retry-After"]) / 20)
            answers.append(await self.transfer(source, target, amount, key))
        return answers


@asynccontextmanager
async def running(dsn: str, collected: Collected | None = None) -> AsyncIterator[Client]:
    """The service in this process."""
    to = collected or Collected()
    app = create_app(dsn, tracer_provider=to.tracer_provider, meter_provider=to.meter_provider)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://bank", timeout=30) as http,
    ):
        yield Client(http)
