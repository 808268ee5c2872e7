"""What a driver has to offer to be measured: a session, whose methods are the kinds of work.

A session has one connection.  Each kind of work that it can do is a method that gets the workload's
arguments and returns the operation to be timed (or an awaitable of it, where something has to be opened
first).  A kind that it has no method for, it sits out.  The kinds:

    fetch(sql, args)                 one statement, all of its rows
    batch(statements, atomic)        many statements, handed over at once: the driver's best way to do that
    many(sql, records)               one statement with many values, no rows: what drivers call executemany
    copy(table, columns, records)    COPY FROM STDIN of Python values
    gather(sql, values)              concurrent calls: on one connection if the driver can, or on a pool of 10
    transaction(statements)          BEGIN, each statement waited for, COMMIT
    connecting(sql)                  connect, one query, close
    pool_cycle(sql)                  borrow a connection of a pool, one query, give it back
    tasks(count, sql)                so many concurrent tasks on a pool of 10, each of ROUNDS queries
    read(sql, values, count)         rows of one type's value; values: ours, and that of asyncpg
    write(sql, values, count, width) executemany of records of one type's value, which stores nothing
    stream(sql)                      all rows one after the other, without having all of them: how many

The rows are what the driver gives by itself (tuples, Records, ...); `plain` turns them into tuples for the
check, outside of the timing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sized
from typing import Any, Final

__all__ = ["POOL", "ROUNDS", "Operation", "Session", "Statements", "repeated"]

Operation = Callable[[], Any]
Statements = Iterable[tuple[str, tuple[Any, ...]]]

POOL: Final = 10
"""Connections of every pool."""

ROUNDS: Final = 5
"""Queries of each task of `tasks`."""

_SETS: Final = {"batch", "gather", "transaction"}
_ROWS: Final = {"fetch", "connecting", "pool_cycle", "read"}


class Session:
    """The base of all sessions."""

    ways: dict[str, str] = {}  # noqa: RUF012 - each class replaces it, none changes it
    """By kind, how the driver does it, where that is not obvious; the report prints it."""

    def plain(self, kind: str, result: Any) -> Any:
        """The result of an operation of a kind, as lists of tuples."""
        if kind in _ROWS:
            return [tuple(row) for row in result]
        if kind in _SETS:
            return [[tuple(row) for row in rows] for rows in result]
        return result


async def repeated(query: Callable[[], Awaitable[Sized]]) -> int:
    """One task of `tasks`: the query ROUNDS times, one after the other; how many rows came."""
    done = 0
    for _ in range(ROUNDS):
        done += len(await query())
    return done
