"""OpenTelemetry: a span for each request, and the metrics of SQLAlchemy's pool.

The spans of queries are children of the request's: `pgproto_otel.Telemetry` begins them where a call is made.
In production `opentelemetry-instrumentation-fastapi` makes the request's span.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.propagate import extract
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

__all__ = ["Traced", "observe"]

Message = MutableMapping[str, Any]
App = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


class Traced:
    """ASGI middleware.  The caller's trace goes on, if the request has a `traceparent`."""

    def __init__(self, app: App, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = extract(
            {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        )
        method = scope["method"]
        attributes = {"http.request.method": method, "url.path": scope["path"]}
        with self._tracer.start_as_current_span(method, caller, SpanKind.SERVER, attributes) as span:

            async def sending(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            await self._app(scope, receive, sending)
            route = getattr(scope.get("route"), "path", None)
            if route:
                span.set_attribute("http.route", route)
                span.update_name(f"{method} {route}")


def observe(engine: AsyncEngine, meter: Meter) -> None:
    """The connections of the engine's pool, by their state, as pgproto_otel counts those of pgproto's."""
    pool = engine.pool
    assert isinstance(pool, QueuePool)

    def count(options: CallbackOptions) -> Iterable[Observation]:
        for state, number in (("idle", pool.checkedin()), ("used", pool.checkedout())):
            yield Observation(
                number, {"db.client.connection.pool.name": "bank", "db.client.connection.state": state}
            )

    meter.create_observable_up_down_counter("db.client.connection.count", [count], "{connection}")
