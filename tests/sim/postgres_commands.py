"""The statements of the model server that are over at once: transaction control, the session's state."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tests.sim.postgres_block import DEFAULTS, EXPLICIT, NONE
from tests.sim.postgres_rows import ROWS, columns, queue
from tests.sim.postgres_sql import SQLError, SQLValue
from tests.sim.postgres_values import Portal

if TYPE_CHECKING:
    from tests.sim.postgres_session import Session

__all__ = ["COMMANDS", "as_id"]


def as_id(value: SQLValue) -> int:
    """The value of the id column."""
    if value is None:
        raise SQLError("23502", "null value violates not-null constraint")
    if not isinstance(value, int):
        raise SQLError("22P02", "invalid input syntax for type bigint")
    return value


def _defer(session: Session, portal: Portal) -> str:
    transaction = session.block.transaction
    transaction.execute(session.database.deferred, as_id(portal.values[0]), session.world.now)
    return "INSERT 0 1"


# ---- Transactions


def _begin(session: Session, portal: Portal) -> str:
    if "read write" in portal.plan.sql.lower() and session.database.read_only:
        raise SQLError("0A000", "cannot set transaction read-write mode during recovery")
    if session.database.cramped and session.world.rng.random() < 0.5:
        raise SQLError("53200", "out of memory")
    if not session.block.begin("read only" in portal.plan.sql.lower()):
        session.warn("25001", "there is already a transaction in progress")
    return "START TRANSACTION" if portal.plan.sql.strip().lower().startswith("start") else "BEGIN"


def _rollback(session: Session, portal: Portal) -> str:
    block = session.block
    chained = "chain" in portal.plan.names
    if chained and block.state == NONE:
        raise SQLError("25P01", "ROLLBACK AND CHAIN can only be used in transaction blocks")
    if block.state == NONE:
        session.warn("25P01", "there is no transaction in progress")
    block.roll_back()
    if chained:
        block.chain()
    session.end_portals(committed=False)
    return "ROLLBACK"


def _prepare(session: Session, portal: Portal) -> str:
    block = session.block
    if block.state != EXPLICIT:
        if block.state == NONE:
            session.warn("25P01", "there is no transaction in progress")
        block.roll_back()
        session.end_portals(committed=False)
        return "ROLLBACK"
    block.state = NONE  # what fails now undoes all
    block.prepare(portal.plan.names[0].strip("'"))
    session.end_portals(committed=False)
    return "PREPARE TRANSACTION"


def _decide(session: Session, portal: Portal) -> str:
    verb, name = portal.plan.names
    session.block.prevent(f"{verb.upper()} PREPARED")
    transaction = session.database.prepared.pop(name.strip("'"), None)
    if transaction is None:
        raise SQLError("42704", f"prepared transaction with identifier {name} does not exist")
    if verb.lower() == "commit":
        transaction.commit(session.world.now)
    else:
        transaction.roll_back(session.world.now)
    return f"{verb.upper()} PREPARED"


def _savepoint(session: Session, portal: Portal) -> str:
    session.block.savepoint(portal.plan.names[0])
    return "SAVEPOINT"


def _release(session: Session, portal: Portal) -> str:
    session.block.release(portal.plan.names[0])
    return "RELEASE"


def _rollback_to(session: Session, portal: Portal) -> str:
    index = session.block.roll_back_to(portal.plan.names[0])
    for name, other in list(session.portals.items()):
        if other.depth > index:
            del session.portals[name]
    return "ROLLBACK"


def _vacuum(session: Session, portal: Portal) -> str:
    session.block.prevent("VACUUM")
    return "VACUUM"


# ---- The session


def _notify(session: Session, portal: Portal) -> str:
    queue(session, portal)
    return "NOTIFY"


def _listen(session: Session, portal: Portal) -> str:
    local = session.block.local
    session.block.local = local._replace(channels=local.channels | set(portal.plan.names))
    return "LISTEN"


def _unlisten(session: Session, portal: Portal) -> str:
    local = session.block.local
    names = portal.plan.names or local.channels
    session.block.local = local._replace(channels=local.channels - set(names))
    return "UNLISTEN"


def _set(session: Session, portal: Portal) -> str:
    name, scope = portal.plan.names
    block = session.block
    value = str(portal.values[0])
    if name not in DEFAULTS and "." not in name:
        raise SQLError("42704", f'unrecognized configuration parameter "{name}"')
    if name.endswith("_timeout") and not value.isdigit():
        raise SQLError("22023", f'invalid value for parameter "{name}"')
    if scope and block.state != EXPLICIT and not block.several and not block.pipelining:
        session.warn("25P01", "SET LOCAL can only be used in transaction blocks")
    if scope:
        block.local = block.local._replace(overrides={**block.local.overrides, name: value})
    else:
        overrides = {key: other for key, other in block.local.overrides.items() if key != name}
        settings = {**block.local.settings, name: value}
        block.local = block.local._replace(settings=settings, overrides=overrides)
    return "SET"


def _reset(session: Session, portal: Portal) -> str:
    local = session.block.local
    settings = dict(session.start_settings)
    if "role" in local.settings:
        settings["role"] = local.settings["role"]
    if portal.plan.names:
        (name,) = portal.plan.names
        settings = {key: value for key, value in local.settings.items() if key != name.lower()}
        if name.lower() in session.start_settings:
            settings[name.lower()] = session.start_settings[name.lower()]
    session.block.local = local._replace(settings=settings, overrides={})
    return "RESET"


def _create(session: Session, portal: Portal) -> str:
    local = session.block.local
    (name,) = portal.plan.names
    if name in local.temporary:
        raise SQLError("42P07", f'relation "{name}" already exists')
    session.block.local = local._replace(temporary=local.temporary | {name})
    return "CREATE TABLE"


def _drop(session: Session, portal: Portal) -> str:
    local = session.block.local
    (name,) = portal.plan.names
    if name not in local.temporary:
        raise SQLError("42P01", f'table "{name}" does not exist')
    session.block.local = local._replace(temporary=local.temporary - {name})
    return "DROP TABLE"


def _alter(session: Session, portal: Portal) -> str:
    block = session.block
    (name,) = portal.plan.names
    if name in block.shape:
        raise SQLError("42701", f'column "{name}" of relation "shape" already exists')
    block.transaction.shape = (*block.shape, name)
    return "ALTER TABLE"


def _discard(session: Session, portal: Portal) -> str:
    session.block.prevent("DISCARD ALL")
    session.portals.clear()
    session.forget_statements()
    session.locks.clear()
    session.sequence = None
    session.block.reset(session.start_settings)
    return "DISCARD ALL"


def _discard_part(session: Session, portal: Portal) -> str:
    (what,) = portal.plan.names
    if what.lower() == "temp":
        session.block.local = session.block.local._replace(temporary=frozenset())
    else:
        session.sequence = None
    return f"DISCARD {what.upper()}"


def _authorize(session: Session, portal: Portal) -> str:
    local = session.block.local
    settings = {name: value for name, value in local.settings.items() if name != "role"}
    session.block.local = local._replace(settings=settings)
    return "SET"


def _into(session: Session, portal: Portal) -> str:
    _create(session, portal)
    return "SELECT 1"


def _close_all(session: Session, portal: Portal) -> str:
    session.portals.clear()
    return "CLOSE CURSOR ALL"


def _deallocate(session: Session, portal: Portal) -> str:
    if not portal.plan.names:
        session.forget_statements()
        return "DEALLOCATE ALL"
    (name,) = portal.plan.names
    if session.statements.pop(name, None) is None:
        raise SQLError("26000", f'prepared statement "{name}" does not exist')
    return "DEALLOCATE"


def _close(session: Session, portal: Portal) -> str:
    (name,) = portal.plan.names
    if session.portals.pop(name, None) is None:
        raise SQLError("34000", f'cursor "{name}" does not exist')
    return "CLOSE CURSOR"


def _declare(session: Session, portal: Portal) -> str:
    block = session.block
    (name,) = portal.plan.names
    query = portal.plan.query
    assert query is not None
    hold = portal.plan.kind == "hold"
    if not hold and block.state != EXPLICIT and not block.several and not block.pipelining:
        raise SQLError("25P01", "DECLARE CURSOR can only be used in transaction blocks")
    if name in session.portals:
        raise SQLError("42P03", f'cursor "{name}" already exists')
    found = columns(session, query)
    cursor = Portal(query, found, portal.values, (0,) * len(found), block.depth)
    cursor.source = ROWS[query.kind](session, cursor)
    cursor.hold = hold
    session.portals[name] = cursor
    return "DECLARE CURSOR"


COMMANDS: Final[dict[str, Callable[[Session, Portal], str]]] = {
    "defer": _defer,
    "begin": _begin,
    "rollback": _rollback,
    "prepare": _prepare,
    "decide": _decide,
    "savepoint": _savepoint,
    "release": _release,
    "rollback_to": _rollback_to,
    "vacuum": _vacuum,
    "notify": _notify,
    "listen": _listen,
    "unlisten": _unlisten,
    "set": _set,
    "reset": _reset,
    "create": _create,
    "declare": _declare,
    "hold": _declare,
    "close_all": _close_all,
    "discard_part": _discard_part,
    "authorize": _authorize,
    "into": _into,
    "drop": _drop,
    "alter": _alter,
    "discard": _discard,
    "deallocate": _deallocate,
    "close": _close,
}
