"""Statement modes: which messages run a statement, and what is kept of it.

    mode             messages of a run                                        round trips  kept
    cache_statement  Bind, Execute, Sync; at first Parse, Describe, Sync      1, first 2   name, description
    cache_describe   Parse, Describe, Bind, Execute, Sync; at first Parse,    1, first 2   description
                     Describe, Sync
    describe_exec    Parse, Describe, Sync; Parse, Describe, Bind, ...        2            nothing
    exec             Parse, Describe, Bind, Execute, Sync                     1            nothing
    simple_protocol  Query                                                    1            nothing

In the first three the server says the types of the parameters, and values travel in binary.  In the last two
the types are inferred from the values: see `blind`, `spelled`, and `types.inferred`.  What a mode promises is
the same: outcomes, errors, deadlines, healing; and the values that are read.

All but the first use the unnamed statement and send its Parse together with its Bind, so they are safe with
poolers that do not track prepared statements.  The Describe in cache_describe is what makes a kept
description safe: after a migration the new columns are read as what they are, or the run has an error that
says so.

A session has a mode, and a call may have another.  Cursors, streams, COPY, `executemany` and results as
columns need descriptions: in a session without names they use cache_describe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .batch import QueuedQuery
from .blind import OneTrip
from .execution import Execution
from .spelled import Spelled
from .statements import Statement, StatementCache

__all__ = [
    "CACHE_DESCRIBE",
    "CACHE_STATEMENT",
    "DESCRIBE_EXEC",
    "EXEC",
    "MODES",
    "SIMPLE_PROTOCOL",
    "StatementMode",
    "chosen",
]


class Named(Execution):
    """Run items by named statements, in a session that has another mode."""

    __slots__ = ()

    def __init__(self, items: list[QueuedQuery], *, atomic: bool = True) -> None:
        super().__init__(items, atomic=atomic)
        self._own = True

    def statement_of(self, cache: StatementCache, sql: str) -> Statement:
        """A statement with a name, which is kept."""
        return cache.get_as(sql, named=True)


class Unnamed(Execution):
    """Run items by the unnamed statement, in a session that has another mode."""

    __slots__ = ()

    def __init__(self, items: list[QueuedQuery], *, atomic: bool = True) -> None:
        super().__init__(items, atomic=atomic)
        self._own = True

    def statement_of(self, cache: StatementCache, sql: str) -> Statement:
        """A statement without a name, of which the description is kept."""
        return cache.get_as(sql, named=False)


class DescribedEachTime(Execution):
    """The mode `describe_exec`."""

    __slots__ = ()

    def __init__(self, items: list[QueuedQuery], *, atomic: bool = True) -> None:
        super().__init__(items, atomic=atomic)
        self._own = True


class StatementMode:
    """How statements are run: see the table of `modes`.

    Args:
        name: its name, as in the option `statement_mode`.
        named: a session in this mode gives its statements names, and relies on the server to keep them.
        execution: makes the operation of a call in this mode.
        by_default: makes the operation of a call in a session of this mode; `execution` unless it is given.

    Attributes:
        name, named, execution, by_default: the same.
    """

    __slots__ = ("by_default", "execution", "name", "named")

    def __init__(
        self,
        name: str,
        execution: Callable[..., Execution],
        by_default: Callable[..., Execution] | None = None,
        *,
        named: bool = False,
    ) -> None:
        self.name = name
        self.named = named
        self.execution = execution
        self.by_default = by_default or execution

    def __repr__(self) -> str:
        return f"<StatementMode {self.name}>"


CACHE_STATEMENT: Final = StatementMode("cache_statement", Named, Execution, named=True)
"""Prepared statements with names, kept by the server.  The default."""
CACHE_DESCRIBE: Final = StatementMode("cache_describe", Unnamed, Execution)
"""No names; what the server has said of parameters and columns is kept.  For poolers that track no names."""
DESCRIBE_EXEC: Final = StatementMode("describe_exec", DescribedEachTime)
"""No names, and nothing is kept: each run asks first.  Two round trips."""
EXEC: Final = StatementMode("exec", OneTrip)
"""One round trip for a statement that is run once: the types of parameters are those of their values."""
SIMPLE_PROTOCOL: Final = StatementMode("simple_protocol", Spelled)
"""The simple protocol, with the values as quoted literals in the text.  For consoles of poolers."""


def chosen(mode: object) -> Callable[..., Execution]:
    """What makes the operation of a call that has chosen a mode.

    Raises:
        TypeError: it is no StatementMode.
    """
    if isinstance(mode, StatementMode):
        return mode.execution
    raise TypeError(f"the mode must be a StatementMode, such as pgproto.EXEC, not {type(mode).__name__}")


MODES: Final = {
    mode.name: mode for mode in (CACHE_STATEMENT, CACHE_DESCRIBE, DESCRIBE_EXEC, EXEC, SIMPLE_PROTOCOL)
}
"""All modes by their names."""
