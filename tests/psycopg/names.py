"""The names of the scenarios, for tests that do not import psycopg themselves."""

from __future__ import annotations

STATES = [
    *("idle", "nonblocking", "in_transaction", "in_failed", "busy", "answered", "taken", "failed"),
    *("copy_in", "copy_in_extended", "copy_out"),
    *("pipeline", "pipeline_sent", "pipeline_failed", "pipeline_synced", "pipeline_done"),
    *("killed", "lost", "refused", "misunderstood", "finished"),
]
CONVERSATIONS = [
    *("connecting", "refusals", "conninfo", "escaping", "results", "rows in parts", "copying", "pipelining"),
    *("traces", "notifications", "cancelling", "passwords", "large", "encodings"),
]
