"""A pool whose server lets nobody in: the reason is told, and the server is not asked all the time."""

from __future__ import annotations

import pytest

from pgproto import PoolTimeout
from pgproto_pytest import Driver
from tests.support.scripted import Peer, ScriptedServer, fatal


def starting_up(peer: Peer) -> None:
    """57P03 is transient: who waits goes on waiting."""
    peer.receive_startup()
    peer.raw(fatal("57P03", "the database system is starting up"))
    peer.finish()


def test_the_reason_is_told_and_attempts_have_time_between_them(driver: Driver) -> None:
    with ScriptedServer(starting_up, then=starting_up) as server:

        async def scenario(pg: Driver) -> None:
            times = {"acquire_timeout": 0.6, "backoff": 0.05}
            async with pg.Pool(server.dsn(), min_size=0, max_size=4, **times) as pool:
                with pytest.raises(PoolTimeout, match="57P03") as caught:
                    await pool.fetchval("select 1")
                assert getattr(caught.value.__cause__, "sqlstate", "") == "57P03"
                assert pool.stats().open_failures >= 2

        driver.run(scenario)
        assert 2 <= len(server.peers) <= 8
