"""The statements of the model server that return rows: sources of rows, and of `Wait`s where time passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from tests.sim import postgres_amounts as amounts
from tests.sim.postgres_block import INTERRUPTIBLE, Wait
from tests.sim.postgres_sql import INT4, LABEL, LABELS, TEXT, Plan, SQLError, SQLValue
from tests.sim.postgres_values import Columns, Portal, Row

if TYPE_CHECKING:
    from tests.sim.postgres_session import Session

__all__ = ["ROWS", "columns", "queue"]


def columns(session: Session, plan: Plan) -> Columns:
    """The columns that it returns now; () for none."""
    if plan.kind == "shape":
        return tuple((name, INT4) for name in session.block.shape)
    if plan.kind in ("amount", "amounts"):
        return amounts.columns(session.database)
    if plan.kind == "show" and session.block.setting(plan.names[0].lower()) is None:
        raise SQLError("42704", f'unrecognized configuration parameter "{plan.names[0]}"')
    if plan.kind == "fetch":
        cursor = session.portals.get(plan.names[0])
        return cursor.columns if cursor is not None else ()
    return plan.columns


def queue(session: Session, portal: Portal) -> None:
    """Remember a notification for the commit."""
    channel, payload = portal.values
    local = session.block.local
    told = (*local.notifications, (str(channel), str(payload or "")))
    session.block.local = local._replace(notifications=told)


def _number(value: SQLValue) -> int:
    return value if isinstance(value, int) else 0


def _rows(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    tag, count = portal.values
    for number in range(1, _number(count) + 1):
        yield (tag, number)


def _break(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    tag, where, count = portal.values
    for number in range(1, _number(count) + 1):
        divisor = _number(where) - number
        if divisor == 0:
            raise SQLError("22012", "division by zero")
        yield (tag, int(1 / divisor))


def _given(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    tag, value = portal.values
    yield (tag, int(value is not None))


def _value(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    yield (portal.values[0],)


def _catalog(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    """Of the types that are not built in; the arrays are empty."""
    asked = str(portal.values[0])
    for oid, name, kind, element in ((LABELS, "label[]", "b", LABEL), (LABEL, "label", "d", TEXT)):
        if f"{LABELS:08x}" in asked or f"{oid:08x}" in asked:
            typname = name if oid == LABEL else "_label"
            yield (oid, name, typname, kind, element, 0, "", "", ",", "public", "")


def _fail(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    yield from ()
    raise SQLError(str(portal.values[0]), str(portal.values[0]))


def _warn(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    session.warn("01000", str(portal.values[0]))
    yield (1,)


def _sleep(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    seconds = float(portal.values[0] or 0)
    if seconds > 0:
        yield Wait(seconds, INTERRUPTIBLE)
    yield ("",)


def _pg_notify(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    queue(session, portal)
    yield ("",)


def _lock(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    session.locks.add(_number(portal.values[0]))
    yield ("",)


def _unlock(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    session.locks.clear()
    yield ("",)


def _pid(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    yield (session.pid,)


def _prepared(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    for name in session.statements:
        if name:
            yield (name,)


def _nextval(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    session.database.numbers += 1
    session.sequence = session.database.numbers
    yield (session.sequence,)


def _lastval(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    if session.sequence is None:
        raise SQLError("55000", "lastval is not yet defined in this session")
    yield (session.sequence,)


def _hidden(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    session.locks.add(1)
    local = session.block.local
    session.block.local = local._replace(settings={**local.settings, "role": "postgres"})
    yield (1,)


def _recovery(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    yield ("on" if session.database.read_only else "off",)


def _count(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    yield (len(session.block.transaction.ids(session.database.ledger)),)


def _find(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    id = _number(portal.values[0])
    if session.block.transaction.sees(session.database.ledger, id):
        yield (id,)


def _ledger(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    for id in session.block.transaction.ids(session.database.ledger):
        yield (id,)


def _shape(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    yield (1, *[None] * (len(portal.columns) - 1))


def _amount(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    id = _number(portal.values[0])
    if session.block.transaction.sees(session.database.amounts, id):
        yield (id, session.database.amount[id])


def _amounts(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    for id in session.block.transaction.ids(session.database.amounts):
        yield (id, session.database.amount[id])


def _show(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    name = portal.plan.names[0].lower()
    value = session.block.setting(name)
    if name == "in_hot_standby":
        value = "on" if session.database.read_only else "off"
    yield (value,)


def _fetch(session: Session, portal: Portal) -> Iterator[Row | Wait]:
    name, count = portal.plan.names
    cursor = session.portals.get(name)
    if cursor is None or cursor.source is None:
        raise SQLError("34000", f'cursor "{name}" does not exist')
    left = -1 if count.lower() == "all" else int(count)
    while left:
        item = next(cursor.source, None)
        if item is None:
            return
        yield item
        if not isinstance(item, Wait):
            left -= 1


ROWS: Final[dict[str, Callable[[Session, Portal], Iterator[Row | Wait]]]] = {
    "rows": _rows,
    "break": _break,
    "given": _given,
    "value": _value,
    "labels": _value,
    "catalog": _catalog,
    "fail": _fail,
    "warn": _warn,
    "sleep": _sleep,
    "pg_notify": _pg_notify,
    "lock": _lock,
    "unlock": _unlock,
    "recovery": _recovery,
    "pid": _pid,
    "prepared": _prepared,
    "nextval": _nextval,
    "lastval": _lastval,
    "hidden": _hidden,
    "count": _count,
    "find": _find,
    "ledger": _ledger,
    "shape": _shape,
    "amount": _amount,
    "amounts": _amounts,
    "show": _show,
    "fetch": _fetch,
}
