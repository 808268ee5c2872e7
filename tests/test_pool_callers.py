"""Pool scenarios: callers, the queue, opening and its failures.

The language is explained in `tests.support.pool_script`.
"""

from __future__ import annotations

import pytest

from tests.support.pool_script import Driver, settings

SCENARIOS: dict[str, tuple[dict[str, float | None], str]] = {
    "one open per caller, up to max, first come first served": (
        {"min_size": 0, "max_size": 2},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 acquire c       ->
        1 opened 2        -> grant a 2
        2 opened 1        -> grant b 1
        2 stats opening=0 used=2 waiting=1 waits=3 wait_seconds=3
        3 release a       -> grant c 2
        3 release b       ->
        3 release c       ->
        3 acquire d       ->
        3 is d granted 2
        3 stats size=2 idle=1 used=1 acquires=4 waits=3 wait_seconds=6
        """,
    ),
    "min_size is opened at the start, and again after a loss": (
        {"min_size": 2},
        """
        0 start           -> open 1, open 2
        0 start           ->
        1 opened 1        ->
        1 opened 2        ->
        1 stats idle=2 acquires=0 opens=2
        2 lost 1          -> close 1 lost force, open 3
        2 stats lost=1
        2 closed 1        ->
        2 opened 3        ->
        """,
    ),
    "the connection that was used last is lent first": (
        {"min_size": 0, "max_size": 2},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        1 release b       ->
        2 release a       ->
        3 acquire c       ->
        3 is c granted 1
        """,
    ),
    "an open outlives the caller who asked for it": (
        {"min_size": 0},
        """
        0 acquire a       -> open 1
        1 cancel a        ->
        1 is a cancelled
        2 opened 1        ->
        2 stats idle=1 cancelled=1 wait_seconds=1
        3 acquire b       ->
        3 is b granted 1
        """,
    ),
    "the open of a cancelled caller serves the next one": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 acquire b       ->
        1 cancel a        ->
        2 opened 1        -> grant b 1
        """,
    ),
    "cancel before the grant was noticed gives the connection to the next": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 acquire b       ->
        1 opened 1        -> grant a 1
        1 cancel a        -> grant b 1
        1 cancel a        ->
        1 release a       ->
        1 is b granted 1
        """,
    ),
    "a second release does nothing to the next borrower": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        1 release a       ->
        1 acquire b       ->
        1 release a broken ->
        1 is b granted 1
        1 stats used=1
        """,
    ),
    "a transient failure fails nobody; callers end at their own deadline": (
        {"min_size": 0, "max_size": 2, "backoff": 0.25},
        """
        0 acquire a 1     -> open 1
        0 acquire b 2     -> open 2
        0 open_failed 1   ->
        0 open_failed 2   ->
        0 stats size=0 waiting=2 open_failures=2
        0 due 0.25
        0.25 tick         -> open 3
        0.25 due 0.75
        0.26 open_failed 3 ->
        0.75 tick         -> open 4
        0.75 due 1
        1 tick            -> fail a PoolTimeout
        1 due 2
        1.1 opened 4      -> grant b 4
        1.1 stats timeouts=1
        """,
    ),
    "after an outage the first success lets everybody through": (
        {"min_size": 0, "max_size": 3},
        """
        0 acquire a       -> open 1
        0 open_failed 1   ->
        0 acquire b       ->
        0 acquire c       ->
        0.5 tick          -> open 2
        0.5 opened 2      -> grant a 2, open 3, open 4
        """,
    ),
    "a permanent failure fails all who wait, and stops opening for nobody": (
        {"min_size": 1, "max_size": 1},
        """
        0 start           -> open 1
        0 acquire a       ->
        0 acquire b       ->
        1 open_failed 1 permanent -> fail a ConnectError, fail b ConnectError
        1 due 30
        9 tick            ->
        9 acquire c       -> open 2
        9 opened 2        -> grant c 2
        9 release c broken -> close 2 broken
        9 closed 2        -> open 3
        """,
    ),
    "a server that accepts and hangs up is not hammered": (
        {"min_size": 1, "max_size": 1},
        """
        0 start           -> open 1
        0 opened 1        ->
        0 lost 1          -> close 1 lost force
        0 closed 1        ->
        0 due 0.5
        0.5 tick          -> open 2
        0.5 opened 2      ->
        0.6 acquire a     ->
        0.6 release a lost -> close 2 lost force
        0.6 closed 2      ->
        0.6 due 1.1
        1.1 tick          -> open 3
        1.1 opened 3      ->
        2.1 lost 3        -> close 3 lost force
        2.1 closed 3      -> open 4
        """,
    ),
    "max_waiting counts only those for whom nothing is on its way": (
        {"min_size": 0, "max_size": 1, "max_waiting": 1},
        """
        0 acquire a       -> open 1
        0 acquire b       ->
        0 acquire c       ->
        0 is c failed TooManyWaiting
        0 is b waiting
        0 stats rejected=1 waiting=2
        """,
    ),
    "a negative timeout has passed, even if one is free, and nothing is opened": (
        {"min_size": 0},
        """
        0 acquire a -0.1  ->
        0 is a failed PoolTimeout
        0 acquire b       -> open 1
        0 opened 1        -> grant b 1
        0 release b       ->
        1 acquire c -1    ->
        1 is c failed PoolTimeout
        1 stats timeouts=2 idle=1 opens=1 waiting=0
        2 close           -> close 1 closed
        2 acquire d -1    ->
        2 is d failed PoolClosed
        """,
    ),
    "the first connection is waited for, and not lent": (
        {"min_size": 2},
        """
        0 start           -> open 1, open 2
        0 first a         ->
        0 first b         ->
        1 opened 2        -> grant a, grant b
        1 first c         ->
        1 is c granted
        1 stats idle=1 used=0 acquires=0 waits=0 wait_seconds=0
        2 opened 1        ->
        """,
    ),
    "where nothing is opened at the start, the first connection is not waited for": (
        {"min_size": 0},
        """
        0 start           ->
        0 first a         ->
        0 is a granted
        """,
    ),
    "the start fails when the last of its attempts has failed": (
        {"min_size": 2, "backoff": 1, "max_backoff": 1},
        """
        0 start           -> open 1, open 2
        0 first a         ->
        0 acquire b       ->
        1 open_failed 1   ->
        1 is a waiting
        1 open_failed 2   -> fail a ConnectError
        1 is b waiting
        """,
    ),
    "the start fails when one attempt fails for good": (
        {"min_size": 2, "backoff": 1, "max_backoff": 1},
        """
        0 start           -> open 1, open 2
        0 first a         ->
        1 open_failed 1 permanent -> fail a ConnectError
        5 first b         -> open 3
        6 opened 3        -> grant b
        """,
    ),
    "the start has a deadline, and can be given up": (
        {"min_size": 1, "acquire_timeout": 5},
        """
        0 first a         -> open 1
        0 first b 3       ->
        0 due 3
        1 first c         ->
        1 cancel c        ->
        1 is c cancelled
        3 tick            -> fail b PoolTimeout
        3 due 5
        5 tick            -> fail a PoolTimeout
        5 first d 9       ->
        5 first e 2       ->
        6 close           -> close 1 closed force, fail d PoolClosed, fail e PoolClosed
        6 first f         ->
        6 is f failed PoolClosed
        """,
    ),
    "a connection that ends in its first lease, but had answered, is no failed connect": (
        {"min_size": 0, "max_size": 1, "backoff": 1, "max_backoff": 1},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        0.1 lost 1 answered -> close 1 lost force
        0.1 closed 1      ->
        0.2 acquire b     -> open 2
        0.2 opened 2      -> grant b 2
        0.3 release b answered -> close 2 lost force
        0.3 closed 2      ->
        0.3 acquire c     -> open 3
        0.3 opened 3      -> grant c 3
        0.4 release c lost -> close 3 lost force
        0.4 closed 3      ->
        0.4 acquire d     ->
        0.4 due 1.4
        """,
    ),
    "a timeout of 0 takes what is free or fails, and the open is kept": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a 0     -> open 1
        0 is a failed PoolTimeout
        1 opened 1        ->
        1 acquire b 0     ->
        1 is b granted 1
        """,
    ),
    "on_acquire refuses: another one, at the old place in the queue": (
        {"min_size": 0, "max_size": 2},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 acquire c       ->
        0 refuse b        -> close 2 refused
        0 refuse a        -> close 1 refused
        1 closed 1        -> open 3
        1 opened 3        -> grant a 3
        1 release a       -> grant b 3
        1 release b       -> grant c 3
        """,
    ),
    "refused callers come back in the order of their arrival": (
        {"min_size": 0, "max_size": 2},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 refuse a        -> close 1 refused
        0 refuse b        -> close 2 refused
        0 is a waiting
        0 is b waiting
        0 closed 1        -> open 3
        0 opened 3        -> grant a 3
        0 open_failed 3   ->
        0 open_failed 1   ->
        """,
    ),
    "a caller that was cancelled while its connection was lost": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        2 lost 1          -> close 1 lost force
        2 cancel a        ->
        2 closed 1        ->
        2 stats size=0 cancelled=1
        """,
    ),
    "on_acquire refuses always: max_size + 1 attempts": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        0 refuse a        -> close 1 refused
        0 closed 1        -> open 2
        0 opened 2        -> grant a 2
        0 refuse a        -> close 2 refused
        0 is a failed ConnectError
        0 refuse a        ->
        """,
    ),
    "a refused caller gets the next idle connection without waiting": (
        {"min_size": 0, "max_size": 2},
        """
        0 acquire a       -> open 1
        0 acquire b       -> open 2
        0 opened 1        -> grant a 1
        0 opened 2        -> grant b 2
        0 release a       ->
        0 refuse b        -> close 2 refused
        0 is b granted 1
        """,
    ),
    "refused after its connection was lost, and after the pool was closed": (
        {"min_size": 0, "max_size": 1},
        """
        0 acquire a       -> open 1
        0 opened 1        -> grant a 1
        1 lost 1          -> close 1 lost force
        1 refuse a        ->
        1 is a waiting
        1 closed 1        -> open 2
        1 opened 2        -> grant a 2
        2 close           ->
        2 refuse a        -> close 2 refused
        2 is a failed PoolClosed
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
