"""Running the statements of the model server: one portal, whichever kind its statement is of.

Rows come from the sources of `postgres_rows`.  Other statements return their command tag: those of
`postgres_commands` at once, those of `postgres_storing` when they are done.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from pgproto.wire import CopyData, CopyDone, CopyOutResponse
from tests.sim.postgres_block import INTERRUPTIBLE, Wait
from tests.sim.postgres_commands import COMMANDS
from tests.sim.postgres_rows import ROWS, columns
from tests.sim.postgres_sql import Plan, SQLError, SQLValue
from tests.sim.postgres_storing import COPY_HEADER, STORING, Running
from tests.sim.postgres_values import Portal, row

if TYPE_CHECKING:
    from tests.sim.postgres_session import Session

__all__ = ["ALONE", "CONTROL", "columns", "run", "subjects"]

CONTROL: Final = frozenset({"begin", "commit", "rollback", "savepoint", "release", "rollback_to", "prepare"})
"""Transaction control: over and done when its CommandComplete is sent."""

ALONE: Final = frozenset({"vacuum", "discard", "decide"})
"""Those that run in a transaction of their own, and commit at once."""

_WRITING: Final = {"insert": "INSERT", "defer": "INSERT", "delete": "DELETE", "copy_in": "COPY FROM"} | {
    "alter": "ALTER TABLE",
    "amount_in": "INSERT",
    "copy_amounts": "COPY FROM",
    "retype": "ALTER TABLE",
    "create": "CREATE TABLE",
    "drop": "DROP TABLE",
}
# Manual, "Hot Standby": UNLISTEN is not among them, as nobody can have listened.
_NOT_IN_RECOVERY: Final = frozenset({"notify", "pg_notify", "listen", "vacuum"})

_ABOUT: Final = ("insert", "defer", "rows", "given", "break", "labels")


def subjects(plan: Plan, values: list[SQLValue]) -> list[int | str]:
    """The id or the tag that a statement is about."""
    if plan.kind in ("insert", "defer", "rows", "given", "break", "labels") and isinstance(
        values[0], int | str
    ):
        return [values[0]]
    return []


def run(session: Session, portal: Portal, limit: int) -> Running:
    """Run a portal; its command tag, or "" if it stopped at the limit."""
    plan = portal.plan
    if plan.kind in _WRITING:
        session.block.check_write(_WRITING[plan.kind])
    elif plan.kind in _NOT_IN_RECOVERY and session.database.read_only:
        raise SQLError("25006", f"cannot execute {plan.kind.upper()} during recovery")
    portal.done = plan.kind not in ROWS
    command = COMMANDS.get(plan.kind)
    if command is not None:
        return command(session, portal)
    slow = STORING.get(plan.kind)
    if slow is not None:
        return (yield from slow(session, portal))
    if plan.kind == "copy_out":
        return (yield from _copy_out(session, portal))
    if portal.source is None:
        portal.source = ROWS[plan.kind](session, portal)
    count = 0
    delay = session.master.row_delay
    for item in portal.source:
        if isinstance(item, Wait):
            yield item
            continue
        session.send(row(portal.columns, portal.formats, item))
        count += 1
        if count == limit:
            return ""
        if delay:
            yield Wait(delay, INTERRUPTIBLE)
    portal.done = True
    for subject in subjects(plan, portal.values):
        session.database.executed[subject] += 1
    return "SHOW" if plan.kind == "show" else f"{'FETCH' if plan.kind == 'fetch' else 'SELECT'} {count}"


def _copy_out(session: Session, portal: Portal) -> Running:
    query = portal.plan.query
    assert query is not None
    if query.folding:
        raise SQLError(query.folding)
    found = columns(session, query)
    binary = int(bool(portal.plan.names[0]))
    inner = Portal(query, found, portal.values, (binary,) * len(found), 0)
    session.send(CopyOutResponse(binary, (binary,) * len(found)))
    count = 0
    head = COPY_HEADER if binary else b""
    for item in ROWS[query.kind](session, inner):
        if isinstance(item, Wait):
            yield item
            continue
        values = row(found, inner.formats, item).values
        if binary:
            data = struct.pack(">h", len(values))
            for value in values:
                data += b"\xff\xff\xff\xff" if value is None else struct.pack(">i", len(value)) + value
        else:
            data = b"\t".join([b"\\N" if value is None else value for value in values]) + b"\n"
        session.send(CopyData(head + data))
        head = b""
        count += 1
        if session.master.row_delay:
            yield Wait(session.master.row_delay, INTERRUPTIBLE)
    if binary:
        session.send(CopyData(head + b"\xff\xff"))
    session.send(CopyDone())
    for subject in subjects(query, portal.values):
        session.database.executed[subject] += 1
    return f"COPY {count}"
