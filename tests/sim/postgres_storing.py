"""The statements of the model server that store: they wait for other transactions, and COPY for its data.

Running: they are generators of `Wait`s, and of None where COPY data is to be sent in.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final

from pgproto.wire import CopyData, CopyDone, CopyFail, CopyInResponse, Message
from tests.sim.database import Table
from tests.sim.postgres_amounts import convert
from tests.sim.postgres_block import FAILED, NONE, ROW_LOCK, Wait
from tests.sim.postgres_commands import COMMANDS, as_id
from tests.sim.postgres_sql import FLOAT8, INT8, TEXT, SQLError, SQLValue
from tests.sim.postgres_values import Portal, received

if TYPE_CHECKING:
    from tests.sim.postgres_session import Session

__all__ = ["COPY_HEADER", "STORING", "Running"]

Running = Generator[Wait | None, Message | None, str]

_TYPES: Final = {"int8": INT8, "float8": FLOAT8, "text": TEXT}

COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)


def _store(session: Session, table: Table, id: int) -> Generator[Wait | None, Message | None, None]:
    """Store an id; waits for other transactions that are about to store it."""
    transaction = session.block.transaction
    while session.database.holder(table, id, transaction) is not None:
        yield ROW_LOCK
    if transaction.sees(table, id):
        raise SQLError("23505", "duplicate key value violates unique constraint")
    transaction.execute(table, id, session.world.now)


def _insert(session: Session, portal: Portal) -> Running:
    yield from _store(session, session.database.ledger, as_id(portal.values[0]))
    return "INSERT 0 1"


def _amount_in(session: Session, portal: Portal) -> Running:
    database = session.database
    id, amount = as_id(portal.values[0]), convert(portal.values[1], database.amount_type)
    yield from _store(session, database.amounts, id)
    database.amount[id] = amount
    return "INSERT 0 1"


def _retype(session: Session, portal: Portal) -> Running:
    transaction = session.block.transaction
    database = session.database
    while any(other.uses_amounts for other in database.open if other is not transaction):
        yield ROW_LOCK
    database.retype(_TYPES[portal.plan.names[0].lower()], session.world.now)
    return "ALTER TABLE"


def _delete(session: Session, portal: Portal) -> Running:
    transaction = session.block.transaction
    table, id = session.database.ledger, as_id(portal.values[0])
    while session.database.holder(table, id, transaction) is not None:
        yield ROW_LOCK
    if not transaction.sees(table, id):
        return "DELETE 0"
    transaction.execute(table, id, session.world.now, delete=True)
    return "DELETE 1"


def _copy_in(session: Session, portal: Portal) -> Running:
    def store(id: int) -> Generator[Wait | None, Message | None, None]:
        yield from _store(session, session.database.ledger, id)
        session.database.arrived[id] += 1

    binary = bool(portal.plan.names)
    return (yield from _copied(session, int(binary), 1, _binary_row if binary else _text_row, store))


def _copy_amounts(session: Session, portal: Portal) -> Running:
    database = session.database

    def take(data: bytes) -> tuple[tuple[int, SQLValue] | str | None, bytes]:
        fields, rest = _binary_fields(data, 2)
        if fields is None or isinstance(fields, str):
            return fields, rest
        id, amount = (
            None if field is None else received(field, oid)
            for field, oid in zip(fields, (INT8, database.amount_type), strict=True)
        )
        return (as_id(id), amount), rest

    def store(row: tuple[int, SQLValue]) -> Generator[Wait | None, Message | None, None]:
        yield from _store(session, database.amounts, row[0])
        database.amount[row[0]] = row[1]

    return (yield from _copied(session, 1, 2, take, store))


def _copied(
    session: Session,
    binary: int,
    columns: int,
    take: Callable[[bytes], tuple[Any, bytes]],
    store: Callable[[Any], Generator[Wait | None, Message | None, None]],
) -> Running:
    """Take COPY data in.

    Args:
        take: the next row, "end", or None where none is complete; and what is left.
        store: stores a row.
    """
    session.send(CopyInResponse(binary, (binary,) * columns))
    session.flush()
    rest = b""
    count = 0
    over = False
    started = not binary
    while True:
        event = yield None
        if isinstance(event, CopyFail):
            raise SQLError("57014", f"COPY from stdin failed: {event.message}")
        if isinstance(event, CopyData) and not over:
            rest += event.data
            if not started and len(rest) >= len(COPY_HEADER):
                if rest[: len(COPY_HEADER)] != COPY_HEADER:
                    raise SQLError("22P04", "COPY file signature not recognized")
                rest = rest[len(COPY_HEADER) :]
                started = True
        elif rest and not binary and not over:
            rest += b"\n"
        while started and not over:
            found, rest = take(rest)
            if found is None:
                break
            if found == "end":
                over = True
            else:
                yield from store(found)
                count += 1
        if isinstance(event, CopyDone):
            if binary and rest and not over:
                raise SQLError("22P04", "unexpected EOF in COPY data")
            return f"COPY {count}"


def _text_row(data: bytes) -> tuple[int | str | None, bytes]:
    """The next id, "end", or None for a line that is not complete; and what is left."""
    line, end, rest = data.partition(b"\n")
    if not end:
        return None, data
    if line == b"\\.":
        return "end", b""
    if b"\t" in line:
        raise SQLError("22P04", "extra data after last expected column")
    if line == b"\\N":
        return as_id(None), rest
    try:
        return int(line), rest
    except ValueError:
        raise SQLError("22P02", "invalid input syntax for type bigint") from None


def _binary_row(data: bytes) -> tuple[int | str | None, bytes]:
    fields, rest = _binary_fields(data, 1)
    if fields is None or isinstance(fields, str):
        return fields, rest
    return as_id(None if fields[0] is None else received(fields[0], INT8)), rest


def _binary_fields(data: bytes, count: int) -> tuple[list[bytes | None] | str | None, bytes]:
    """The fields of the next row, "end", or None for one that is not complete; and what is left."""
    if data[:2] == b"\xff\xff":
        return "end", b""
    if len(data) < 2:
        return None, data
    if data[:2] != count.to_bytes(2, "big"):
        raise SQLError("22P04", f"row field count is not {count}")
    fields: list[bytes | None] = []
    at = 2
    for _ in range(count):
        size = int.from_bytes(data[at : at + 4], "big", signed=True)
        if len(data) < at + 4 + max(size, 0):
            return None, data
        fields.append(None if size < 0 else data[at + 4 : at + 4 + size])
        at += 4 + max(size, 0)
    return fields, data[at:]


def _commit(session: Session, portal: Portal) -> Running:
    block = session.block
    chained = "chain" in portal.plan.names
    if block.state == FAILED:
        return COMMANDS["rollback"](session, portal)
    if block.state == NONE:
        if chained:
            raise SQLError("25P01", "COMMIT AND CHAIN can only be used in transaction blocks")
        session.warn("25P01", "there is no transaction in progress")
    block.state = NONE
    yield from session.commit()
    if chained:
        block.chain()
    return "COMMIT"


STORING: Final[dict[str, Callable[[Session, Portal], Running]]] = {
    "insert": _insert,
    "amount_in": _amount_in,
    "retype": _retype,
    "delete": _delete,
    "copy_in": _copy_in,
    "copy_amounts": _copy_amounts,
    "commit": _commit,
}
