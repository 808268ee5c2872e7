"""Spans and metrics over the real adapters, as the SDK's in-memory exporters get them."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import pgproto
from pgproto import PoolTimeout, PostgresError
from pgproto_otel import Telemetry
from pgproto_pytest import Driver
from tests.support.drivers import EVERY
from tests.support.postgres import PostgresServer

drivers = pytest.mark.parametrize("driver", EVERY, ids=repr)


class Collected:
    """A Telemetry, and what the SDK has got from it."""

    def __init__(self, **options: Any) -> None:
        self._spans = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self._reader = InMemoryMetricReader()
        meters = MeterProvider([self._reader])
        self.telemetry = Telemetry(tracer_provider=self.provider, meter_provider=meters, **options)

    def spans(self) -> list[ReadableSpan]:
        """Those that have ended since the last call."""
        spans = list(self._spans.get_finished_spans())
        self._spans.clear()
        return spans

    def points(self, name: str) -> list[Any]:
        """The data points of a metric."""
        data: Any = self._reader.get_metrics_data()
        metrics = [
            metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]
        return [point for metric in metrics if metric.name == name for point in metric.data.data_points]

    def sums(self, name: str) -> dict[str, int]:
        """The values of a counter, by the state in the attributes."""
        return {
            point.attributes.get("db.client.connection.state", ""): point.value for point in self.points(name)
        }


@drivers
def test_a_query_is_a_span_and_a_duration(driver: Driver, pg18: PostgresServer) -> None:
    found = Collected()

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(), observers=found.telemetry) as conn:
            assert await conn.fetchval("select $1::int4", 7) == 7
            host, database = conn.engine.host, conn.config.database
        (span,) = found.spans()
        assert span.name == f"SELECT {database}"
        assert span.kind is SpanKind.CLIENT
        assert span.status.status_code is StatusCode.UNSET
        expected = {
            "db.system.name": "postgresql",
            "db.namespace": database,
            "db.operation.name": "SELECT",
            "server.address": host.unix_path if host.is_unix else host.host or host.hostaddr,
        }
        if not host.is_unix:
            expected["server.port"] = host.port
        assert span.attributes == {**expected, "db.query.text": "select $1::int4"}
        (point,) = found.points("db.client.operation.duration")
        assert point.attributes == expected
        assert point.count == 1
        assert tuple(point.explicit_bounds) == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
        assert 0 < point.sum < 5
        assert span.end_time is not None
        assert span.start_time is not None
        assert (span.end_time - span.start_time) / 1e9 < 5

    driver.run(scenario)


@drivers
def test_spans_are_children_of_the_callers_span(driver: Driver, pg18: PostgresServer) -> None:
    found = Collected()
    tracer = found.provider.get_tracer("application")

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), observers=found.telemetry, min_size=0, max_size=3) as pool:

            def work(name: str) -> Any:
                async def run() -> None:
                    with tracer.start_as_current_span(name):
                        await pool.fetchval("select $1::text, pg_sleep(0.01)", name)
                        batch = pgproto.Batch()
                        batch.queue("select $1::int", 1)
                        batch.queue("select $1::int", 2)
                        await pool.send_batch(batch)

                return run

            names = [f"request {n}" for n in range(8)]
            assert await pg.together(*map(work, names)) == [None] * 8

    driver.run(scenario)
    spans = found.spans()
    parents = {span.context.span_id: span for span in spans if span.name.startswith("request")}
    children = [span for span in spans if not span.name.startswith("request")]
    assert len(parents) == 8
    assert len(children) == 16
    for child in children:
        assert child.parent is not None
        assert child.context.trace_id == parents[child.parent.span_id].context.trace_id
    for identity in parents:
        mine = [child for child in children if child.parent and child.parent.span_id == identity]
        assert sorted(str((child.attributes or {})["db.operation.name"]) for child in mine) == [
            "BATCH SELECT",
            "SELECT",
        ]
        sizes = {(child.attributes or {}).get("db.operation.batch.size") for child in mine}
        assert sizes == {None, 2}


@drivers
def test_errors_have_their_sqlstate_and_no_values(driver: Driver, pg18: PostgresServer) -> None:
    found = Collected()

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(), observers=found.telemetry) as conn:
            with pytest.raises(PostgresError):
                await conn.fetchval("select $1::text::int", "hush")
            with pytest.raises(pgproto.DataError):
                await conn.fetchval("select $1::int", "hush")
            with pytest.raises(pgproto.QueryTimeout):
                await conn.fetchval("select pg_sleep(60), 'hush'", timeout=0.1)

    driver.run(scenario)
    spans = found.spans()
    assert [(span.attributes or {})["error.type"] for span in spans] == [
        *("22P02", "pgproto.errors.DataError", "pgproto.errors.QueryTimeout"),
    ]
    assert [(span.attributes or {}).get("db.response.status_code") for span in spans] == ["22P02", None, None]
    assert all(span.status.status_code is StatusCode.ERROR for span in spans)
    assert "hush" not in "".join(span.to_json() for span in spans)
    points = found.points("db.client.operation.duration")
    assert {point.attributes["error.type"] for point in points} == {
        *("22P02", "pgproto.errors.DataError", "pgproto.errors.QueryTimeout"),
    }


@drivers
def test_texts_without_parameters_are_recorded_on_request(driver: Driver, pg18: PostgresServer) -> None:
    quiet, telling = Collected(), Collected(texts=True)

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(), observers=[quiet.telemetry, telling.telemetry]) as conn:
            await conn.fetchval("select 'hush'")
            await conn.script("select 1; select 2")
            await conn.executemany("select $1::int", [(1,), (2,)])
            batch = pgproto.Batch()
            batch.queue("select 1")
            batch.queue("values (1)")
            await conn.send_batch(batch)

    driver.run(scenario)
    texts = [(span.attributes or {}).get("db.query.text") for span in quiet.spans()]
    assert texts == [None, None, "select $1::int", None]
    spans = telling.spans()
    texts = [(span.attributes or {}).get("db.query.text") for span in spans]
    assert texts == ["select 'hush'", "select 1; select 2", "select $1::int", "select 1;\nvalues (1)"]
    assert (spans[3].attributes or {})["db.operation.name"] == "BATCH"


@drivers
def test_the_sizes_of_batches(driver: Driver, pg18: PostgresServer) -> None:
    """The convention: a batch is two operations or more, and its name begins with BATCH."""
    found = Collected()

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(), observers=found.telemetry) as conn:
            for size in (0, 1, 2, 5000):
                await conn.executemany("select $1::int4", ((n,) for n in range(size)))
            for size in (1, 3):
                batch = pgproto.Batch()
                for n in range(size):
                    batch.queue("select $1::int4", n)
                await conn.send_batch(batch)
            with pytest.raises(PostgresError):
                await conn.executemany("select 1 / $1::int4", [(2,), (1,), (0,)])

    driver.run(scenario)
    spans = found.spans()
    sizes = [(span.attributes or {}).get("db.operation.batch.size") for span in spans]
    assert sizes == [None, None, 2, 5000, None, 3, 3]
    names = [(span.attributes or {})["db.operation.name"] for span in spans]
    assert names == ["BATCH SELECT" if size else "SELECT" for size in sizes]
    assert [span.name.rpartition(" ")[0] for span in spans] == names
    measured = {
        point.attributes["db.operation.name"]: 0 for point in found.points("db.client.operation.duration")
    }
    for point in found.points("db.client.operation.duration"):
        assert "db.operation.batch.size" not in point.attributes
        measured[point.attributes["db.operation.name"]] += point.count
    assert measured == {"SELECT": 3, "BATCH SELECT": 4}


@drivers
def test_the_metrics_of_a_pool(driver: Driver, pg18: PostgresServer) -> None:
    found = Collected(pool_name="orders")
    prefix = "db.client.connection."

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), observers=found.telemetry, min_size=1, max_size=2) as pool:
            found.telemetry.limits(pool.settings)
            async with pool.acquire(), pool.acquire():
                if pg.asynchronous:  # a pool's thread tells it at its own time
                    assert found.sums(prefix + "count")["used"] == 2
                with pytest.raises(PoolTimeout):
                    await pool.fetchval("select 1", timeout=0.05)
            assert await pool.fetchval("select 1") == 1
            if pg.asynchronous:
                assert found.sums(prefix + "count") == {"idle": 2, "used": 0}
        assert found.sums(prefix + "count") == {"idle": 0, "used": 0}

    driver.run(scenario)
    for name, value in (
        ("max", 2),
        ("idle.max", 2),
        ("idle.min", 1),
        ("pending_requests", 0),
        ("timeouts", 1),
    ):
        assert found.sums(prefix + name) == {"": value}, name
    for name, count in (("create_time", 2), ("wait_time", 3), ("use_time", 3)):
        (point,) = found.points(prefix + name)
        assert point.count == count
        assert point.attributes == {"db.client.connection.pool.name": "orders"}


@pytest.mark.holds("O2")
def test_the_end_of_a_call_that_it_has_not_seen_begin() -> None:
    found = Collected()
    session = pgproto.SessionInfo(1)
    exchange = pgproto.Exchange(session, pgproto.session.Operation(), 0.0)
    found.telemetry.ended(exchange)
    assert found.spans() == []
    found.telemetry.submitted(exchange)
    found.telemetry.ended(exchange)
    (span,) = found.spans()
    assert span.name == "postgresql"
