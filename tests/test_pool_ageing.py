"""Pool scenarios: what becomes of connections: lifetime, pings, resets, losses, expire, close.

The language is explained in `tests.support.pool_script`.
"""

from __future__ import annotations

import pytest

from tests.support.pool_script import Driver, settings

SCENARIOS: dict[str, tuple[dict[str, float | None], str]] = {
    "lifetime: checked on release": (
        {"min_size": 0, "max_lifetime": 100},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        100 release a dirty -> close 1 lifetime
        """,
    ),
    "lifetime: checked on acquire, before the tick": (
        {"min_size": 0, "max_lifetime": 100, "max_idle": None, "check_after": None},
        """
        0 acquire a 5     -> open 1
        0 opened 1        -> grant a 1
        1 release a       ->
        100 acquire b     -> close 1 lifetime, open 2
        """,
    ),
    "lifetime: checked by the tick, and the minimum restored": (
        {"min_size": 1, "max_lifetime": 100, "max_idle": None},
        """
        0 start           -> open 1
        0 opened 1        ->
        0 due 100
        100 tick          -> close 1 lifetime, open 2
        100 due never
        """,
    ),
    "idle connections are closed down to min_size": (
        {"min_size": 1, "max_idle": 60, "max_lifetime": None, "acquire_timeout": 5},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 acquire c       -> open 3
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 opened 3        -> grant c 3
        1 release a       ->
        2 release b       ->
        3 release c       ->
        60 tick           ->
        61 tick           -> close 1 idle
        61 closed 1       ->
        61 due 62
        70 tick           -> close 2 idle
        70 due never
        999 tick          ->
        999 stats idle=1 closing=1
        """,
    ),
    "a ping only after check_after, and the caller waits for it": (
        {"min_size": 0, "max_size": 2, "check_after": 30},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        0 release a       ->
        29 acquire b      ->
        29 is b granted 1
        29 release b      ->
        59 acquire c      -> check 1
        59 acquire d      -> open 2
        59 check 1 ok     -> grant c 1
        59 check 1 bad    ->
        59 is c granted 1
        """,
    ),
    "after a failed check the others are checked at once": (
        {"min_size": 0, "max_size": 3, "check_after": 30, "check_timeout": 2},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 acquire c       -> open 3
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 opened 3        -> grant c 3
        0 release a       ->
        0 release b       ->
        5 release c       ->
        31 acquire d      ->
        31 release d broken -> close 3 broken
        31 closed 3       ->
        31 acquire e      -> check 2
        33 tick           -> close 2 check_failed force, check 1
        33 due 35
        35 tick           -> close 1 check_failed force, open 4
        35 check 2 ok     ->
        36 opened 4       -> grant e 4
        """,
    ),
    "a free connection does not wait behind somebody else's check": (
        {"min_size": 0, "max_size": 2, "check_after": 30},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 release a       ->
        40 acquire c      -> check 1
        41 release b      -> grant c 2
        41 check 1 ok     ->
        41 stats idle=1 used=1
        """,
    ),
    "dead idle connections are seen without a round trip": (
        {"min_size": 0, "max_size": 3},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 acquire c       -> open 3
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 opened 3        -> grant c 3
        0 release a       ->
        0 release b       ->
        0 release c       ->
        1 dead 1          ->
        1 dead 2          ->
        1 dead 3          ->
        1 acquire d       -> close 3 lost force, close 2 lost force, close 1 lost force
        1 stats size=3 closing=3 lost=3 waiting=1
        1 closed 2        -> open 4
        1 opened 4        -> grant d 4
        """,
    ),
    "a dirty connection is reset first, and nobody waits for the answer": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        0 acquire b       ->
        1 release a dirty -> reset 1
        1 stats resetting=1 used=0
        2 reset 1 ok      -> grant b 1
        2 release b dirty -> reset 1
        3 reset 1 bad     -> close 1 dirty force
        """,
    ),
    "a reset that hangs ends at its deadline, and its late answer is stale": (
        {"min_size": 0, "max_size": 1, "reset_timeout": 5, "acquire_timeout": None},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        1 release a dirty -> reset 1
        1 acquire b       ->
        1 due 6
        6 tick            -> close 1 dirty force
        6 reset 1 ok      ->
        6 closed 1        -> open 2
        """,
    ),
    "closing connections count against max": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        0 acquire b       ->
        1 release a broken -> close 1 broken
        1 stats size=1 closing=1
        2 closed 1        -> open 2
        2 closed 1        ->
        """,
    ),
    "a connection lost in use frees its slot at once; the release comes late": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        0 acquire b       ->
        1 lost 1          -> close 1 lost force
        1 lost 1          ->
        1 closed 1        -> open 2
        2 opened 2        -> grant b 2
        2 release a broken ->
        2 cancel a        ->
        2 stats used=1 lost=1
        """,
    ),
    "a slot that is being reset does not stand in for an open": (
        {"min_size": 0, "max_size": 2},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        0 release a dirty -> reset 1
        0 acquire b       -> open 2
        1 reset 1 ok      -> grant b 1
        """,
    ),
    "a ping that fails leaves the fresh ones alone": (
        {"min_size": 0, "max_size": 2, "check_after": 30},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 release a       ->
        31 acquire c      -> check 1
        31 cancel c       ->
        31 release b      ->
        32 check 1 bad    -> close 1 check_failed force
        32 stats idle=1 closing=1
        """,
    ),
    "a connection that was lent and not used does not count as fresh": (
        {"min_size": 0, "max_size": 2, "check_after": 30},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 release a       ->
        20 acquire c      ->
        25 release b      ->
        26 cancel c       ->
        40 acquire d      ->
        40 is d granted 2
        40 acquire e      -> check 1
        """,
    ),
    "close, then the deadline, with one already forced": (
        {"min_size": 0, "max_size": 2},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        1 close 1         -> close 2 closed force, fail b PoolClosed
        2 tick            -> close 1 closed force
        """,
    ),
    "expire: each at its next idle moment, newborns too": (
        {"min_size": 0, "max_size": 3},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 acquire d       -> open 3
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 cancel d        ->
        0 release a       ->
        1 expire          -> close 1 expired
        1 stats used=1 opening=1 closing=1
        1 acquire c       ->
        2 opened 3        -> close 3 expired
        2 closed 1        -> open 4
        3 release b dirty -> close 2 expired
        3 opened 4        -> grant c 4
        """,
    ),
    "close: callers fail, idle ones close, borrowed ones on return": (
        {"min_size": 0, "max_size": 2},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 acquire c       ->
        0 release b       -> grant c 2
        0 release c       ->
        0 acquire d       ->
        0 acquire e       ->
        1 close 10        -> fail e PoolClosed
        1 due 11
        1 acquire f       ->
        1 is f failed PoolClosed
        2 release a dirty -> close 1 closed
        3 closed 1        ->
        3 release d       -> close 2 closed
        3 closed 2        ->
        3 stats size=0
        3 due never
        4 close           ->
        """,
    ),
    "close: what is left at the deadline is taken away": (
        {"min_size": 1, "max_size": 3},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 release b       ->
        1 close 10        -> close 2 closed
        5 close 20        ->
        11 tick           -> close 1 closed force, close 2 closed force
        11 due never
        11 release a      ->
        12 closed 1       ->
        12 closed 2       ->
        12 stats size=0
        """,
    ),
    "close while opening, checking and resetting": (
        {"min_size": 0, "max_size": 3, "check_after": 1, "max_idle": None},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 release a       ->
        1 acquire c       -> check 1
        1 acquire d       -> open 3
        1 release b dirty -> reset 2
        2 cancel d        ->
        2 close           -> close 1 closed, close 2 closed, close 3 closed force, fail c PoolClosed
        3 opened 3 unwanted ->
        3 closed 3        ->
        3 check 1 ok      ->
        3 reset 2 ok      ->
        3 closed 1        ->
        3 closed 2        ->
        3 stats size=0
        """,
    ),
    "close(0) forces at once": (
        {"min_size": 0},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        1 close 0         -> close 1 closed force
        """,
    ),
    "close before anything was opened": (
        {"min_size": 0},
        """
        0 close           ->
        0 due never
        0 start           ->
        0 tick            ->
        """,
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    options, script = SCENARIOS[name]
    driver = Driver(settings(**options))
    driver.run(script)
    stats = driver.machine.stats()
    assert stats.size == sum(
        (stats.idle, stats.used, stats.opening, stats.checking, stats.resetting, stats.closing)
    )
    assert stats.size <= stats.max_size
