"""The observer that makes spans and metrics.

Names and attributes are those of the semantic conventions of OpenTelemetry for PostgreSQL: the stable ones of
spans and of `db.client.operation.duration`; those of pools (`db.client.connection.*`) are still in
development there.

A span begins where the call is made, so its parent is the span of the caller's task or thread, and ends when
the call has ended, whoever hears of that.

Rule: no values.  The text of a statement is recorded if it was sent with parameters, because then the values
are not in it; any other text may have secrets in it and is recorded only on request (`texts`).  Messages of
errors may quote values and are never recorded.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider, get_tracer

import pgproto
from pgproto import Exchange, Move, PoolObserver, PoolSettings, PoolTimeout, PostgresError, SessionInfo, Wait
from pgproto.session import ExecuteMany
from pgproto.session.sql import first_words

__all__ = ["Telemetry"]

_SCHEMA: Final = "https://opentelemetry.io/schemas/1.34.0"
_DEFAULT_PORT: Final = 5432
# The convention's boundaries for the duration of an operation, in seconds.
_DURATIONS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
# A state of a slot, as the convention knows it; in other states there is no connection to count.
_COUNTED: Final = {"idle": "idle", "checking": "idle", "used": "used", "resetting": "used"}

_Attributes = dict[str, str | int]


class Telemetry(PoolObserver):
    """An observer that makes a span and a duration of each call, and metrics of a pool.

    Args:
        pool_name: `db.client.connection.pool.name`; give each pool a Telemetry of its own, with its name.
        texts: record the texts of statements that were sent without parameters, too.
        tracer_provider: where the spans go; by default the global one.
        meter_provider: where the metrics go; by default the global one.
    """

    def __init__(
        self,
        *,
        pool_name: str = "pgproto",
        texts: bool = False,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._texts = texts
        self._tracer = get_tracer("pgproto_otel", pgproto.__version__, tracer_provider, _SCHEMA)
        meter = get_meter("pgproto_otel", pgproto.__version__, meter_provider, _SCHEMA)
        self._duration = meter.create_histogram(
            "db.client.operation.duration",
            "s",
            "Duration of database client operations.",
            explicit_bucket_boundaries_advisory=_DURATIONS,
        )
        self._pool: _Attributes = {"db.client.connection.pool.name": pool_name}
        self._states: dict[int, str] = {}  # of the slots that are counted
        prefix = "db.client.connection."

        def gauge(name: str, unit: str, text: str) -> Any:
            return meter.create_up_down_counter(prefix + name, unit, text)

        def histogram(name: str, text: str) -> Any:
            return meter.create_histogram(prefix + name, "s", text)

        self._count = gauge("count", "{connection}", "Connections in a state.")
        self._idle_max = gauge("idle.max", "{connection}", "The largest number of idle connections.")
        self._idle_min = gauge("idle.min", "{connection}", "The smallest number of idle connections.")
        self._max = gauge("max", "{connection}", "The largest number of connections.")
        self._pending = gauge("pending_requests", "{request}", "Callers that wait for a connection.")
        self._timeouts = meter.create_counter(
            prefix + "timeouts", "{timeout}", "Callers that have waited for a connection in vain."
        )
        self._create_time = histogram("create_time", "The time it took to open a connection.")
        self._wait_time = histogram("wait_time", "The time it took to obtain an open connection.")
        self._use_time = histogram("use_time", "The time between borrowing a connection and its return.")

    def limits(self, settings: PoolSettings) -> None:
        """Report the limits of the pool: `telemetry.limits(pool.settings)`, once.

        Args:
            settings: the pool's.
        """
        self._max.add(settings.max_size, self._pool)
        self._idle_max.add(settings.max_size, self._pool)
        self._idle_min.add(settings.min_size, self._pool)

    # ---- Calls

    def submitted(self, exchange: Exchange) -> None:
        """Begin a span, as a child of the caller's."""
        attributes = _known(exchange)
        started: _Attributes = dict(attributes)
        if exchange.statements and (self._texts or _parameterized(exchange)):
            started["db.query.text"] = exchange.sql
        size = len(exchange.statements)
        if size > 1:
            started["db.operation.batch.size"] = size
        span = self._tracer.start_span(_title(attributes), kind=SpanKind.CLIENT, attributes=started)
        exchange.notes[self] = (span, attributes)

    def ended(self, exchange: Exchange) -> None:
        """End the span, and record the duration."""
        noted: Any = exchange.notes.pop(self, None)
        if noted is None:  # it began with an error of ours
            return
        span: Span = noted[0]
        attributes: _Attributes = noted[1]
        operation = exchange.operation
        if isinstance(operation, ExecuteMany) and operation.records > 1:  # known now, and not before
            name = f"BATCH {attributes.get('db.operation.name', '')}".rstrip()
            attributes["db.operation.name"] = name
            span.set_attributes({"db.operation.name": name, "db.operation.batch.size": operation.records})
            span.update_name(_title(attributes))
        error = exchange.error
        if error is not None:
            failed = _of_error(error)
            attributes.update(failed)
            span.set_attributes(failed)
            span.set_status(Status(StatusCode.ERROR))
        span.end()
        self._duration.record(exchange.seconds or 0.0, attributes)

    # ---- The pool

    def moved(self, move: Move) -> None:
        """Count the connections by their state, and record how long the states have lasted."""
        before, after = self._states.pop(move.slot, ""), _COUNTED.get(move.after, "")
        if after:
            self._states[move.slot] = after
        if before != after:
            for state, change in ((before, -1), (after, 1)):
                if state:
                    self._count.add(change, {**self._pool, "db.client.connection.state": state})
        if move.before == "opening" and move.after == "idle":
            self._create_time.record(move.seconds, self._pool)
        elif move.before == "used":
            self._use_time.record(move.seconds, self._pool)

    def queued(self, wait: Wait) -> None:
        """One more waits."""
        self._pending.add(1, self._pool)

    def served(self, wait: Wait) -> None:
        """Its wait is over."""
        if wait.queued:
            self._pending.add(-1, self._pool)
        if wait.state == "granted":
            self._wait_time.record(wait.seconds, self._pool)
        elif isinstance(wait.error, PoolTimeout):
            self._timeouts.add(1, self._pool)


def _known(exchange: Exchange) -> _Attributes:
    """What is known of a call at its beginning, and is an attribute of metrics, too."""
    attributes = _of_session(exchange.session)
    operations = {first_words(text)[0].upper() for text in exchange.statements}
    if len(operations) == 1 and "" not in operations:
        batch = "BATCH " if len(exchange.statements) > 1 else ""
        attributes["db.operation.name"] = batch + operations.pop()
    elif len(exchange.statements) > 1:
        attributes["db.operation.name"] = "BATCH"
    return attributes


def _title(attributes: _Attributes) -> str:
    """The name of a span."""
    target = attributes["db.namespace"] or "postgresql"
    return f"{attributes.get('db.operation.name', '')} {target}".lstrip()


def _of_session(session: SessionInfo) -> _Attributes:
    attributes: _Attributes = {"db.system.name": "postgresql", "db.namespace": session.database}
    host = session.host
    if host is not None:
        attributes["server.address"] = host.unix_path if host.is_unix else host.host or host.hostaddr
        if host.port != _DEFAULT_PORT and not host.is_unix:
            attributes["server.port"] = host.port
    return attributes


def _of_error(error: BaseException) -> _Attributes:
    if isinstance(error, PostgresError):
        return {"db.response.status_code": error.sqlstate, "error.type": error.sqlstate}
    return {"error.type": f"{type(error).__module__}.{type(error).__qualname__}"}


def _parameterized(exchange: Exchange) -> bool:
    """True if every statement was sent with parameters, which have all values that change."""
    items: Any = getattr(exchange.operation, "items", None)
    if items is None:
        return exchange.kind == "ExecuteMany"
    return bool(items) and all(item.args for item in items)
