"""A datetime plus or minus an Interval is what the server says."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

import pgproto_blocking
from pgproto import Interval
from tests.support.postgres import PostgresServer

COUNT = 2_000


def intervals(rng: random.Random) -> list[Interval]:
    return [
        Interval(
            rng.choice((0, rng.randint(-40, 40), rng.randint(-4000, 4000))),
            rng.choice((0, rng.randint(-70, 70), rng.randint(-40000, 40000))),
            rng.choice((0, rng.randint(-(10**12), 10**12))),
        )
        for _ in range(COUNT)
    ]


def moments(rng: random.Random) -> list[datetime]:
    """Many of them near the end of a month."""
    found = []
    for _ in range(COUNT):
        month = datetime(rng.randint(1500, 3000), rng.randint(1, 12), 1)
        found.append(month + timedelta(rng.choice((-3, -2, -1, 0, 14)), 0, rng.randrange(86_400_000_000)))
    return found


@pytest.mark.parametrize("kind", ["timestamp", "timestamptz", "date"])
@pytest.mark.parametrize("east", [0, 330])
def test_the_server_agrees(pg18: PostgresServer, kind: str, east: int) -> None:
    rng = random.Random(f"{kind} {east}")
    zone = timezone(timedelta(minutes=east)) if east else UTC
    given: list[date] = list(moments(rng))
    if kind == "timestamptz":
        given = [each.replace(tzinfo=zone) for each in moments(rng)]
    elif kind == "date":
        given = [each.date() for each in moments(rng)]
    moved = intervals(rng)
    with pgproto_blocking.connect(pg18.dsn()) as conn:
        conn.execute(f"set timezone to '<east>-{east // 60:02}:{east % 60:02}'")
        rows = conn.fetch(
            f"select t + i, i + t, t - i from unnest($1::{kind}[], $2::interval[]) as u (t, i)", given, moved
        )
    assert len(rows) == COUNT
    for start, interval, row in zip(given, moved, rows, strict=True):
        assert (start + interval, interval + start, start - interval) == tuple(row), (start, interval)
