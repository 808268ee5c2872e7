"""The table `amounts` of the model server, whose column changes its type: what migrations do.

A prepared statement keeps its parameters' types, those that its Parse was told or found, for as long as it is
prepared; its columns must stay what they were (0A000).  A session that parses the text later finds the new
types, and nobody is told.  Manual: "PREPARE", "Value Storage"; RevalidateCachedQuery in
src/backend/utils/cache/plancache.c.

ALTER TABLE waits for every open transaction that has used the table.  It takes effect at once, and for good:
run it alone, nothing here undoes it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from tests.sim.postgres_sql import FLOAT8, INT4, INT8, TEXT, Plan, SQLError, SQLValue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.sim.database import Database
    from tests.sim.postgres_block import Block

__all__ = ["check", "columns", "convert", "parameter_types", "shown", "touch"]

_KINDS: Final = frozenset({"amount", "amounts", "amount_in", "copy_amounts"})
# What can be stored into a column of a type, besides that type: assignment casts.
_ASSIGNED: Final = {INT8: {INT4, FLOAT8}, FLOAT8: {INT4, INT8}, TEXT: {INT4, INT8, FLOAT8}}
_NAMES: Final = {INT4: "integer", INT8: "bigint", FLOAT8: "double precision", TEXT: "text"}


def touch(plan: Plan, block: Block) -> None:
    """The transaction keeps the table as it is, if the statement uses it."""
    if plan.kind in _KINDS:
        block.transaction.uses_amounts = True


def columns(database: Database) -> tuple[tuple[str, int], ...]:
    """The table's columns now."""
    return (("id", INT8), ("amount", database.amount_type))


def parameter_types(database: Database, plan: Plan, told: Sequence[int]) -> tuple[int, ...]:
    """The types of a statement's parameters: what Parse was told, or what the statement makes of them now.

    Raises:
        SQLError: 42804, the column cannot take what it was told.
    """
    types = [oid or database.amount_type for oid in plan.types]
    types[: len(told)] = [oid or found for oid, found in zip(told, [*types, *told][: len(told)], strict=True)]
    check(database, plan, types)
    return tuple(types)


def check(database: Database, plan: Plan, types: Sequence[int]) -> None:
    """Raise 42804 if the column cannot take what a parameter is."""
    if plan.kind != "amount_in" or not plan.values[1].parameter:
        return
    given, wanted = types[plan.values[1].parameter - 1], database.amount_type
    if given != wanted and given not in _ASSIGNED[wanted]:
        what = (
            f'column "amount" is of type {_NAMES[wanted]} but expression is of type {_NAMES.get(given, "?")}'
        )
        raise SQLError("42804", what)


def convert(value: SQLValue, oid: int) -> SQLValue:
    """A value as another type has it.

    Raises:
        SQLError: 22P02, 22003.
    """
    if value is None or oid not in (INT4, INT8, FLOAT8, TEXT):
        return value
    if oid == TEXT:
        return shown(value)
    try:
        number = float(value) if oid == FLOAT8 else value if isinstance(value, int) else _whole(value)
    except ValueError:
        raise SQLError("22P02", "invalid input syntax") from None
    limit = {INT4: 1 << 31, INT8: 1 << 63}.get(oid)
    if limit is not None and not -limit <= number < limit:
        raise SQLError("22003", "value out of range")
    return number


def _whole(value: float | str) -> int:
    if isinstance(value, str):
        return int(value)
    if not math.isfinite(value):
        raise SQLError("22003", "value out of range")
    return round(value)


def shown(value: SQLValue) -> str:
    """A value as text; a float as the shortest text that says it."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)
