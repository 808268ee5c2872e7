"""The campaigns in small: a dozen kills, and every weather once.  `make chaos` runs them whole.

Every adapter meets kills; the other weathers are spread over adapters and server versions.
"""

from __future__ import annotations

import pytest

from pgproto_pytest import Driver, postgres
from tests.chaos.campaign import SETTINGS, Report, Scenes, prepare
from tests.chaos.inserts import Inserts
from tests.chaos.load import KINDS
from tests.support import pgbouncer
from tests.support.drivers import DRIVERS
from tests.support.postgres import PostgresServer, Version

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

ASYNCIO, TRIO, BLOCKING = DRIVERS


def server(version: Version) -> PostgresServer:
    """A server of the test's own: started by `with`, fast to start again."""
    reason = postgres.missing(version)
    if reason is not None:
        pytest.skip(reason)
    return PostgresServer(version, tls=False, settings=SETTINGS)


def seen(scenes: Scenes, calls: int) -> Report:
    """The report, printed; it must be about something."""
    report = scenes.report
    print("\n".join(report.lines()))
    assert report.calls.total() > calls
    assert report.outcomes["COMMITTED"] > calls
    return report


@pytest.mark.parametrize(
    ("driver", "version"), [(ASYNCIO, "18"), (TRIO, "15"), (BLOCKING, "18")], ids=lambda value: str(value)
)
def test_a_server_that_is_killed(driver: Driver, version: Version) -> None:
    """SIGKILL for backends and for the postmaster, four times each adapter."""
    scenes = Scenes()
    with server(version) as pg:
        prepare(pg)
        scenes.kills(driver, pg, 4)
    report = seen(scenes, 300)
    assert report.kills == 4
    assert set(report.calls) == set(KINDS)
    # The others are told of the crash, and say so.
    assert any("ServerCrash 57P02" in error for error in report.errors), report.errors


@pytest.mark.parametrize(
    ("driver", "version", "part"),
    [(ASYNCIO, "15", slice(0, 3)), (TRIO, "18", slice(4, None)), (BLOCKING, "15", slice(3, 4))],
    ids=lambda value: "" if isinstance(value, slice) else str(value),
)
def test_what_happens_to_a_server_besides(driver: Driver, version: Version, part: slice) -> None:
    """Restarts, terminated sessions, no connections left, timeouts, a server that turns read-only."""
    scenes = Scenes()
    with server(version) as pg:
        prepare(pg)
        scenes.on_a_server(driver, pg, part)
    assert seen(scenes, 50).errors.total() > 10


@pytest.mark.parametrize(
    ("driver", "pool_mode", "part"),
    [
        (ASYNCIO, "session", slice(0, 3)),
        (TRIO, "transaction", slice(3, None)),
        (BLOCKING, "session", slice(0, 1)),
    ],
    ids=lambda value: "" if isinstance(value, slice) else str(value),
)
def test_behind_pgbouncer(driver: Driver, pool_mode: pgbouncer.PoolMode, part: slice) -> None:
    """The story that this library exists for, on real software: two last words in one read."""
    reason = pgbouncer.missing()
    if reason is not None:
        pytest.skip(reason)
    scenes = Scenes()
    with server("15") as pg:
        prepare(pg)
        scenes.behind_pgbouncer(driver, pg, pool_mode, part)
    report = seen(scenes, 50)
    if report.weathers["fast restart behind pgbouncer"]:
        # PostgreSQL says 57P01, then pgbouncer adds its own 08P01.
        assert report.words["57P01", "08P01"], report.words


@pytest.mark.holds("L1")
@pytest.mark.parametrize(
    ("driver", "pooler", "named"),
    [
        (ASYNCIO, "1.18", False),
        (TRIO, "1.18", True),
        (BLOCKING, "1.18", False),
        (TRIO, "1.24", False),
        (ASYNCIO, "1.24", True),
    ],
    ids=lambda value: {True: "named", False: "unnamed"}.get(value, str(value)),
)
def test_kills_behind_pgbouncer(driver: Driver, pooler: pgbouncer.Version, named: bool) -> None:
    """In transaction mode, while several callers share connections and servers change hands."""
    reason = pgbouncer.missing(pooler)
    if reason is not None:
        pytest.skip(reason)
    scenes = Scenes()
    with server("18") as pg:
        prepare(pg)
        scenes.kills_behind_pgbouncer(driver, pg, pooler, named, 3)
    assert seen(scenes, 100).kills == 3


@pytest.mark.holds("L1")
@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
@pytest.mark.parametrize("pooler", ["1.18", "1.24"])
def test_many_small_inserts_behind_pgbouncer(
    pg18: PostgresServer, driver: Driver, pooler: pgbouncer.Version
) -> None:
    """`python -m tests.chaos.inserts` in small: no fault, and no error."""
    reason = pgbouncer.missing(pooler)
    if reason is not None:
        pytest.skip(reason)
    inserts = Inserts(driver, pg18, pooler, 3000)
    inserts.run()
    print(inserts.line())


def test_a_network_that_is_silent() -> None:
    scenes = Scenes()
    with server("18") as pg:
        prepare(pg)
        scenes.network(TRIO, pg)
    assert seen(scenes, 100).errors


def test_a_standby_that_is_promoted() -> None:
    scenes = Scenes()
    scenes.failover(ASYNCIO, "18")
    assert seen(scenes, 300).weathers.total() == 3
