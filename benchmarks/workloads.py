"""What is measured: a table of workloads, one entry each.

A workload says which *kind* of work it is, and the data for it.  A kind is a method of the drivers'
sessions (`drivers.py`); a driver without that method sits the workload out.

    batch    all statements handed over at once, all rows of all of them wanted: the driver's best way
    single   the same statements one after the other, each waited for

To add a workload of a known kind, add an entry.  To add a kind, add a method to the sessions as well.
"""

from __future__ import annotations

from typing import Final

__all__ = ["WORKLOADS", "Rows", "Statements", "Workload"]

Statements = list[tuple[str, tuple[object, ...]]]
Rows = list[list[tuple[object, ...]]]


class Workload:
    """One workload.

    Args:
        name: what it is called on the command line and in the results.
        title: what it is, for the reader of the report.
        kinds: how it may be done.
        statements: the statements and their parameters, in order.
        expected: the rows that each of them must give; every driver is held to them before it is timed.
        iterations: how often a driver runs it in one round.
    """

    def __init__(
        self,
        name: str,
        title: str,
        kinds: tuple[str, ...],
        statements: Statements,
        expected: Rows,
        iterations: int = 20,
    ) -> None:
        self.name = name
        self.title = title
        self.kinds = kinds
        self.statements = statements
        self.expected = expected
        self.iterations = iterations


_ALL = (
    Workload(
        "batch100",
        "100 cached single-row selects (`select $1::int4`) on one connection",
        ("batch", "single"),
        [("select $1::int4", (number,)) for number in range(100)],
        [[(number,)] for number in range(100)],
    ),
)

WORKLOADS: Final[dict[str, Workload]] = {workload.name: workload for workload in _ALL}
"""Every workload by name."""
