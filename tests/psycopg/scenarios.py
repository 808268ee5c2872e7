"""The scenarios that two implementations of `psycopg.pq` must answer alike."""

from __future__ import annotations

from collections.abc import Callable

from . import conversations, states
from .recorder import Recorder

Scenario = Callable[[Recorder, bytes], None]


def _of_state(name: str) -> Scenario:
    return lambda record, dsn: states.in_state(record, dsn, name)


SCENARIOS: dict[str, Scenario] = {
    **{f"in state {name}": _of_state(name) for name in states.STATES},
    **conversations.CONVERSATIONS,
}


def run(name: str, dsn: bytes) -> list[tuple[str, object]]:
    """The answers of one scenario."""
    record = Recorder()
    SCENARIOS[name](record, dsn)
    return record.answers
