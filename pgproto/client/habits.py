"""Names that other drivers have, and what they are here: for the text of the AttributeError.

`conn.add_listener(...)` and `create_pool(...)` are asyncpg's, `conn.commit()` is psycopg's.  Here their error
says what to write instead.  The names are no attributes: they are not in `dir`, and `hasattr` is False.

As descriptors they cost nothing where a name exists; with `__getattr__` every access to any would be slower.
`docs/migrating-from-asyncpg.md` and `docs/migrating-from-psycopg.md` have all names, with examples;
`tests/test_migrating.py` compares the tables with the drivers.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final, NoReturn

__all__ = ["WAYS", "Habit", "point_out", "without_habits"]

_LISTEN: Final = "`async with conn.listen(channel) as notifications`, an iterator"
_CODECS: Final = "a `pgproto.TypeMap` with `set_codec`, as `types=` of the connection or pool"
_BLOCK: Final = "`async with conn.transaction()`: outside of a block each statement is committed by itself"
_OPTIONS: Final = "`conn.transaction(isolation=, readonly=, deferrable=)`"
_TWO_PHASE: Final = (
    "`await conn.execute(\"prepare transaction 'id'\")` in a block, then `commit prepared 'id'`"
)
_STATE: Final = "`conn.config`, `conn.parameters`, `conn.pid` and `conn.transaction_status`"
_ERRORS: Final = "the classes of `pgproto` and `pgproto.sqlstates`"
_FETCH: Final = "rows come from the call that runs the statement: `rows = await conn.fetch(sql, *args)`"
_COPY_OUT: Final = '`async for chunk in conn.copy_out("copy ... to stdout")`'
_COPY_IN: Final = '`await conn.copy_in("copy ... from stdin", source)`'
_COPY_RECORDS: Final = "`await conn.copy_records(table, records, columns=[...])`"
_BATCH: Final = "a `pgproto.Batch`: queue each statement, and read `rows` of each after `send_batch`"
_INTO: Final = "`into=` of fetch, fetchrow, stream and cursor"
_SQL: Final = (
    "values are $1, $2, ..., or have names by `pgproto.named`; quote identifiers by `format('%I')` in SQL"
)
_POOL: Final = "`async with Pool(dsn, min_size=1, max_size=10) as pool`, or `pool = await Pool(dsn).open()`"
_CONNECT: Final = "`connect(dsn)`"
_CURSOR: Final = (
    "`conn.cursor(sql, *args)` in a transaction block, or no cursor at all: `conn.fetch(sql, *args)`"
)

_DBAPI_ERRORS: Final = (
    "DataError DatabaseError Error IntegrityError InterfaceError InternalError NotSupportedError "
    "OperationalError ProgrammingError Warning"
)


def _table(*rows: tuple[str, str]) -> dict[str, str]:
    return {name: way for names, way in rows for name in names.split()}


WAYS: Final[Mapping[str, Mapping[str, str]]] = {
    "Connection": _table(
        (_DBAPI_ERRORS, _ERRORS),
        ("copy_from_query copy_from_table", _COPY_OUT),
        ("copy_records_to_table", _COPY_RECORDS),
        ("copy_to_table", _COPY_IN),
        ("fetchmany", _BATCH),
        ("add_listener add_notify_handler notifies", _LISTEN),
        ("remove_listener remove_notify_handler", "leave the block of `conn.listen`"),
        (
            "add_log_listener add_notice_handler",
            "`conn.notices.add(callback)`, or `conn.on_notice = callback`",
        ),
        ("remove_log_listener remove_notice_handler", "`conn.on_notice = None`"),
        ("add_termination_listener", "`conn.on_lost = callback`"),
        ("remove_termination_listener", "`conn.on_lost = None`"),
        ("add_query_logger query_logger remove_query_logger", "`observers=` of `connect` and `Pool`"),
        ("adapters reset_type_codec set_type_codec", _CODECS),
        ("set_builtin_type_codec", "nothing to do: hstore and the other types are known"),
        ("reload_schema_state", "types are looked up again by themselves; `pool.expire()` forgets all"),
        ("autocommit commit rollback set_autocommit", _BLOCK),
        ("deferrable isolation_level read_only", _OPTIONS),
        ("set_deferrable set_isolation_level set_read_only", _OPTIONS),
        ("tpc_begin tpc_commit tpc_prepare tpc_recover tpc_rollback xid", _TWO_PHASE),
        ("info pgconn", _STATE),
        ("broken is_closed", "`conn.closed`"),
        ("get_server_pid", "`conn.pid`"),
        ("get_server_version", '`conn.parameters["server_version"]`'),
        ("get_settings", "`conn.parameters`"),
        ("is_in_transaction", '`conn.transaction_status != "I"`'),
        ("terminate", "`conn.abort()`"),
        ("get_reset_query", "`Pool(reset=...)` chooses it"),
        ("cancel_safe", "`await conn.cancel()`"),
        ("connect", _CONNECT),
        ("connection", "the connection itself"),
        ("cursor_factory row_factory", _INTO),
        ("fileno", "no file descriptor is given away"),
        ("pipeline", "calls of several tasks are pipelined, and a `pgproto.Batch` is one round trip"),
        ("prepare_threshold", "statements are prepared at their first use; `statement_mode=EXEC`: never"),
        ("prepared_max", "`statement_cache_size=` of the connection or pool"),
        ("wait", "the adapters wait by themselves"),
    ),
    "Pool": _table(
        ("copy_from_query copy_from_table", _COPY_OUT.replace("conn", "pool")),
        ("copy_records_to_table", _COPY_RECORDS.replace("conn", "pool")),
        ("copy_to_table", _COPY_IN.replace("conn", "pool")),
        ("fetchmany", _BATCH),
        ("connection", "`async with pool.acquire() as conn`, or `async with pool.transaction() as conn`"),
        ("getconn", "`conn = await pool.acquire()`, and later `await pool.release(conn)`"),
        ("putconn", "`await pool.release(conn)`"),
        ("check check_connection run_task schedule_task worker", "the pool does it by itself"),
        ("drain expire_connections", "`pool.expire()`"),
        ("get_idle_size", "`pool.stats().idle`"),
        ("get_size", "`pool.stats().size`"),
        ("get_max_size max_size", "`pool.settings.max_size`"),
        ("get_init_size get_min_size min_size", "`pool.settings.min_size`"),
        ("closed get_stats is_closing pop_stats", "`pool.stats()`"),
        ("reconnect_failed", "`pool.stats().last_error`"),
        ("resize", "another Pool with other sizes"),
        ("set_connect_args", "a function as `password=`, which is asked for each connection"),
        ("terminate", "`await pool.close(timeout=0)`"),
        ("wait", "`await pool.open()`, which waits for the first connection"),
    ),
    "PreparedStatement": _table(
        ("cursor", "`conn.cursor(statement, *args)`"),
        ("explain", "`await conn.explain(statement, *args)`"),
        ("fetchmany", _BATCH),
        ("get_attributes", "`statement.description`"),
        ("get_name", "`statement.statement.name`"),
        ("get_parameters", "`statement.statement.parameter_types`, the OIDs"),
        ("get_query", "`statement.statement.sql`"),
        ("get_statusmsg", "the result of `await statement.execute(*args)`"),
    ),
    "Cursor": _table(
        ("adapters", _CODECS),
        ("arraysize fetchmany", "`await cursor.fetch(n)`"),
        ("fetchone", "`await cursor.fetchrow()`"),
        ("fetchall pgresult", _FETCH),
        ("close closed", "`await cursor.aclose()`, or leave its block"),
        ("connection", "the connection that made it"),
        ("copy", f"{_COPY_IN} and {_COPY_OUT}"),
        ("execute", _CURSOR),
        ("executemany", "`await conn.executemany(sql, records)`"),
        ("format", "values are binary where the type allows it"),
        ("itersize", "`prefetch=` of `conn.cursor`"),
        ("mogrify", "values are never merged into the text"),
        ("nextset results set_result", "`await conn.script(sql)`, which returns all results"),
        ("row_factory", _INTO),
        ("rowcount statusmessage", "`await conn.execute(sql, *args)`, which returns the command tag"),
        ("rownumber", "count them"),
        ("scroll", "`await cursor.forward(n)`"),
        ("scrollable withhold", "SQL: `declare name scroll cursor with hold for ...` and `fetch`"),
        ("setinputsizes setoutputsize", "nothing to do"),
        ("stream", "`async for row in conn.stream(sql, *args)`"),
    ),
    "TransactionContext": _table(
        ("Status", "`tx.block`"),
        ("connection", "what `async with conn.transaction() as conn` gives"),
        ("savepoint_name", "savepoints have no names: end the block that should be undone"),
    ),
    # What an adapter's module does not have.
    "": _table(
        (_DBAPI_ERRORS, _ERRORS),
        ("PostgresError errors exceptions", _ERRORS),
        ("create_pool ConnectionPool AsyncConnectionPool", _POOL),
        ("NullConnectionPool AsyncNullConnectionPool", _POOL),
        ("AsyncConnection BaseConnection", _CONNECT),
        ("AsyncClientCursor AsyncCursor AsyncRawCursor AsyncRawServerCursor AsyncServerCursor", _CURSOR),
        ("ClientCursor Cursor RawCursor RawServerCursor ServerCursor", _CURSOR),
        ("AsyncCopy Copy", f"{_COPY_IN} and {_COPY_OUT}"),
        ("AsyncPipeline Pipeline", _BATCH),
        ("AsyncTransaction Rollback Transaction", _BLOCK),
        ("Capabilities ConnectionInfo capabilities", _STATE),
        ("adapt adapters", _CODECS),
        ("BINARY Binary", "`bytes`"),
        ("Date DateFromTicks Time TimeFromTicks Timestamp TimestampFromTicks", "the classes of `datetime`"),
        ("DATETIME NUMBER ROWID STRING", "`column.type_oid`"),
        ("Column", "`pgproto.Column`"),
        ("IsolationLevel", _OPTIONS),
        ("Notify", "`pgproto.Notification`"),
        ("PostgresLogMessage", "`pgproto.PostgresError`, which `conn.on_notice` gets"),
        ("Record", "`pgproto.Row`"),
        ("Xid", _TWO_PHASE),
        ("rows", _INTO),
        ("sql", _SQL),
    ),
}
"""For each class of the client, and for the adapters (""): a name, and what it is here."""


class Habit:
    """A name that a class does not have, for which it has something else."""

    __slots__ = ("_name", "_way")

    def __init__(self, name: str, way: str) -> None:
        self._name = name
        self._way = way

    def __get__(self, instance: object, owner: type) -> NoReturn:
        """Called for the attribute.

        Raises:
            AttributeError: always, with the way.
        """
        way = _in_the_words_of(owner.__module__, self._way)
        raise AttributeError(
            f"{owner.__name__} has no {self._name!r}; here it is: {way}", name=self._name, obj=instance
        )


def _in_the_words_of(module: str, way: str) -> str:
    """A way as the blocking client has it, if it is that one's."""
    if "blocking" not in module:
        return way
    plain = way.replace("aclose", "close").replace("pool.acquire()`,", "pool.acquire().start()`,")
    return plain.replace("await ", "").replace("async ", "")


def without_habits(cls: type, names: list[str]) -> list[str]:
    """The names of a class that are attributes."""
    return [name for name in names if not isinstance(_static(cls, name), Habit)]


def _static(cls: type, name: str) -> object:
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)


def point_out(module: str) -> None:
    """Give an adapter's module a `__getattr__` for the names that it does not have.

    As a call, because type checkers would take a `__getattr__` in the module for one that has any name.
    """

    def missing(name: str) -> NoReturn:
        way = WAYS[""].get(name)
        if way is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}", name=name)
        text = f"{module} has no {name!r}; here it is: {_in_the_words_of(module, way)}"
        # `from module import name` replaces the text of an AttributeError, and not of an ImportError.
        if sys._getframe(1).f_code.co_name == "_handle_fromlist":
            raise ImportError(text, name=module)
        raise AttributeError(text, name=name)

    vars(sys.modules[module])["__getattr__"] = missing
