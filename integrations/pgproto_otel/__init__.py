"""OpenTelemetry for pgproto: spans and metrics by the semantic conventions for databases.

    from pgproto_otel import Telemetry

    pool = pg.Pool(dsn, observers=Telemetry(pool_name="orders"))

`Telemetry` is an observer, so it works with every adapter, and nothing is patched.  It needs
opentelemetry-api alone: where spans and metrics go is the application's configuration of the SDK.
"""

from __future__ import annotations

from .telemetry import Telemetry

__all__ = ["Telemetry"]
