"""Prepared statements, and the cache that knows which of them the server has.

A `Statement` has the result of Parse and Describe for one SQL text: the parameters' encoder and the rows'
decoder.  Its name is never used twice, so a name that is gone on the server (DISCARD ALL, another server of a
pooler) or left over from a failure can never be taken for another statement.

The rules of the cache: an entry exists from the moment its Parse is sent; any error of a statement drops its
entry, because "cached plan must not change result type" and similar errors have many codes; a dropped or
evicted name is closed on the server with the next requests (Close works even in a failed transaction, and
accepts unknown names).

A pooler may keep the text of a named statement and parse it again on another server, or use an older one that
it has there, without notice.  After a migration the text may mean something else on that server.  So unless
the server itself is known to keep the statement (`direct`), its types are learned with the unnamed statement,
which such a pooler passes through; its name is declared with the types of its parameters, and every run asks
for its columns.  After a sign of a migration, or of a lost name, the session uses only the unnamed statement.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from ..columns import ColumnDecoder, Numeric, Unfit
from ..errors import DataError, LocalProtocolError, PostgresError, not_sent
from ..types import BUILT_IN, ParameterEncoder, RowDecoder, TypeMap
from ..types.codec import OutdatedTypeError, UnknownTypeError
from ..wire import ErrorResponse, FieldDescription
from ..wire.binding import BindTemplate
from .sql import check_no_copy_in, check_sql, describes_late, is_plain, leaves_no_trace, words_of
from .stale import is_gone, is_outdated

__all__ = ["NO_ROWS", "Statement", "StatementCache", "error_of_call", "undecodable"]

_RECORDS: Final = frozenset((2249, 2287))  # record, record[]

NEW: Final = 0
PREPARING: Final = 1
READY: Final = 2
DROPPED: Final = 3


class Statement:
    """One prepared statement of one connection.

    Attributes:
        sql: its text.
        name: its name on the server; "" for the unnamed statement, which is parsed before each use.
        key: its place in the cache: its text, or one that no text can be if it is not of the session's mode.
        state: NEW, PREPARING, READY or DROPPED.
        parameter_types: the type OIDs of its parameters.
        columns: the names of its result's columns; () if it returns no rows.
        fields: the columns as they were described.
        declared: a Parse with its name was sent.
        home: the `mark` of the cache of its connection; None before it is prepared.
        late: its columns are known only when it runs: it is parsed and described before each run.
        kept: the caller holds it (`conn.prepare`): it is in no cache, and no error drops it.
        users: the number of operations with items of it that may still be written.
        renewed: a kept statement that was out of date: it waits to be prepared until it is READY again.
        leaving: it gets no new users, and its name is closed when the last user has ended.
        clears: the cache's `clears` when it got its name.

    Raises:
        LocalProtocolError: no message can carry the text, or it is a COPY FROM STDIN.
    """

    __slots__ = (
        "_decoder",
        "_encoder",
        "_forgotten",
        "_result_types",
        "_template",
        "_types",
        "clears",
        "declared",
        "fields",
        "home",
        "kept",
        "key",
        "late",
        "leaving",
        "name",
        "parameter_types",
        "plain",
        "renewed",
        "result_formats",
        "sql",
        "state",
        "traceless",
        "users",
    )

    def __init__(self, sql: str, name: str, *, kept: bool = False, types: TypeMap = BUILT_IN) -> None:
        self.clears = 0
        self.sql = self.key = sql = check_sql(sql)
        check_no_copy_in(sql)
        self.late = describes_late(sql)
        # The server describes a named statement as of its Parse, so a late statement has no name.
        self.name = "" if self.late else name
        self.kept = kept
        self.fields: tuple[FieldDescription, ...] = ()
        self.declared = False
        self.home: object = None
        self.state = NEW
        self.parameter_types: tuple[int, ...] = ()
        self.plain = is_plain(sql)
        self.traceless = leaves_no_trace(sql)
        self.result_formats: tuple[int, ...] = ()
        self.users = 0
        self.leaving = False
        self.renewed = False
        self._types = types
        self._forgotten = 0
        self._result_types: tuple[int, ...] = ()
        self._encoder = _NO_PARAMETERS
        self._decoder = NO_ROWS
        self._template: BindTemplate | None = None

    @property
    def encoder(self) -> ParameterEncoder:
        """The encoder of its parameters."""
        return self._encoder

    @property
    def decoder(self) -> RowDecoder:
        """The decoder of its rows."""
        return self._decoder

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the result's columns."""
        return self._decoder.columns

    @property
    def result_types(self) -> tuple[int, ...]:
        """The type OIDs of the result's columns."""
        return self._result_types

    @property
    def oids(self) -> tuple[int, ...]:
        """The OIDs of all its types, those of the parameters first."""
        return (*self.parameter_types, *self._result_types)

    @property
    def description(self) -> tuple[object, ...]:
        """What is known of it: the same again after it was described again, if nothing has changed."""
        return (self.parameter_types, self._result_types, self._decoder.columns)

    def template(self) -> BindTemplate:
        """The constant parts of its Binds."""
        if self._template is None:
            self._template = BindTemplate(self.name, self._encoder.formats, self.result_formats)
        return self._template

    def rename(self, name: str) -> None:
        """Give it a new name, under which it will be prepared again."""
        self.name = "" if self.late else name
        self.declared = False
        self.state = NEW
        self.leaving = False
        self.renewed = True
        self._template = None

    def parameters_described(self, types: tuple[int, ...]) -> None:
        """ParameterDescription arrived."""
        self.parameter_types = types
        self._encoder = ParameterEncoder(types, self._types)
        self._template = None

    def rows_described(self, fields: tuple[FieldDescription, ...]) -> None:
        """RowDescription arrived (or NoData: no fields)."""
        self.fields = fields
        self._decoder = RowDecoder(fields, types=self._types)
        self._forgotten = self._types.forgotten
        self._result_types = tuple(field.type_oid for field in fields)
        self.result_formats = self._decoder.result_formats
        self._template = None

    def column_decoder(self, numeric: Numeric, unfit: Unfit) -> ColumnDecoder:
        """A decoder of its columns."""
        return ColumnDecoder(self.fields, self._types, numeric=numeric, unfit=unfit)

    def returns(self, fields: tuple[FieldDescription, ...]) -> bool:
        """True if these are the columns that it is known to return."""
        types = tuple([field.type_oid for field in fields])
        return types == self._result_types and tuple([field.name for field in fields]) == self.columns

    def rows_changed(self, fields: tuple[FieldDescription, ...]) -> bool:
        """The text was parsed again and returns other columns, in the formats of the old ones.

        Returns:
            False if the rows cannot be decoded, because the new columns' types need other formats.
        """
        decoder = RowDecoder(fields, types=self._types)
        asked = self.result_formats
        if len(asked) == 1:
            asked = asked * len(fields)  # manual: "Message Formats", Bind
        if decoder.result_formats != asked:
            return False
        self.fields = fields
        self._decoder = decoder
        self._forgotten = self._types.forgotten
        self._result_types = tuple([field.type_oid for field in fields])
        return True

    @property
    def outdated(self) -> bool:
        """True if the map has forgotten since then what it had learned of the statement's types."""
        if self._forgotten == self._types.forgotten:
            return False
        return any(BUILT_IN.known(oid) is None for oid in self.oids)

    def __repr__(self) -> str:
        return f"<Statement {self.name!r} {self.sql!r}>"


def undecodable(raised: Exception) -> DataError:
    """The error for a query whose rows could not be decoded."""
    if isinstance(raised, DataError):
        return raised
    error = DataError(f"decoding its rows was ended by {type(raised).__name__}")
    error.__cause__ = raised
    return error


def error_of_call(known: BaseException | None, error: Exception, atomic: bool) -> BaseException | None:
    """The error of a whole call, which has one item with this error.

    What is no Exception (KeyboardInterrupt), but was raised by a decoder, is meant for the caller, and not
    for one of the items.

    Args:
        known: the call's error without it.
        error: the item's.
        atomic: the items are all or nothing.
    """
    cause = error.__cause__
    if isinstance(error, DataError) and cause is not None and not isinstance(cause, Exception):
        return cause
    return error if known is None and atomic and not isinstance(error, PostgresError) else known


_NO_PARAMETERS: Final = ParameterEncoder(())
NO_ROWS: Final = RowDecoder(())


class StatementCache:
    """The statements of one connection, least recently used first.

    Args:
        size: the number of statements to keep (0: each is closed after its use).
        prefix: the start of this connection's statement names.
        named: False to use only the unnamed statement, if the session's statement mode wants that; then an
            entry saves the Describe, and each use sends its Parse again.
        types: the types of the session.

    Attributes:
        mark: the object that its statements have as their `home`.
        dropped: kept statements that callers no longer refer to; any thread may append them here.
        direct: the server itself keeps named statements and reports changes; False if a pooler may keep them,
            or as long as that is not known.
        unresolved: statements that wait for a look-up of their types, each with its columns; see `lookup`.
        unknowable: the OIDs of types that were looked up in vain; their values travel as text.
        in_records: the OIDs of types that records had, of which no description says what is in them.
        passing: some of these were not found because of trouble that passes: the next operation asks again.
        unasked: the server was not yet asked about that; see `whereabouts`.
        clears: how many times this session has run DISCARD ALL or DEALLOCATE ALL.
    """

    __slots__ = (
        "_counter",
        "_entries",
        "_nameless",
        "_refreshed",
        "_to_close",
        "clears",
        "direct",
        "dropped",
        "in_records",
        "kept",
        "mark",
        "named",
        "passing",
        "prefix",
        "size",
        "types",
        "unasked",
        "unknowable",
        "unresolved",
    )

    def __init__(
        self, size: int = 100, prefix: str = "pgproto_", *, named: bool = True, types: TypeMap = BUILT_IN
    ) -> None:
        self.size = size
        self.prefix = prefix
        self.named = named
        self.types = types
        self.unresolved: list[tuple[Statement, tuple[FieldDescription, ...]]] = []
        self.unknowable: set[int] = set()
        self.in_records: set[int] = set()
        self.passing = False
        self._entries: OrderedDict[str, Statement] = OrderedDict()
        self.kept: dict[str, Statement] = {}  # statements that callers keep, by name
        self.dropped: list[Statement] = []
        self._to_close: list[str] = []
        self._counter = 0
        self._nameless = not named  # only the unnamed statement is used
        self._refreshed = types.forgotten
        self.direct = True
        self.unasked = False
        self.clears = 0
        self.mark = object()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, sql: str) -> Statement:
        """The statement for this text: the cached one, or a NEW one."""
        self.refresh()
        known = self._entries.get(sql)
        if known is not None:
            self._entries.move_to_end(sql)
            return known
        return self._add(sql, sql, self.new_name())

    def get_as(self, sql: str, *, named: bool) -> Statement:
        """`get` for a call that says itself whether its statement has a name."""
        if named is self.named:
            return self.get(sql)
        self.refresh()
        key = f"\0{sql}"
        known = self._entries.get(key)
        if known is not None:
            self._entries.move_to_end(key)
            return known
        return self._add(key, sql, self.unique_name() if named else "")

    def _add(self, key: str, sql: str, name: str) -> Statement:
        statement = Statement(sql, name, types=self.types)
        statement.key = key
        statement.clears = self.clears
        self._entries[key] = statement
        return statement

    def is_new(self, sql: str, statement: Statement | None = None) -> bool:
        """True if nobody has begun to prepare this text, or this statement of it."""
        if statement is None or (not statement.kept and (statement.leaving or statement.state == DROPPED)):
            statement = self._entries.get(sql)
        return statement is None or statement.state == NEW

    def _ready(self) -> Iterator[Statement]:
        """The READY statements.  Each is looked at in its turn, so they may be forgotten meanwhile."""
        for statement in (*self._entries.values(), *self.kept.values()):
            if statement.state == READY:
                yield statement

    def refresh(self) -> None:
        """Forget the statements of types that may have been altered, if the map has forgotten these.

        The codecs of a type whose attributes have other names by now would find nothing wrong.
        """
        if self._refreshed == self.types.forgotten:
            return
        self._refreshed = self.types.forgotten
        for statement in self._ready():
            if statement.outdated:
                self.forget(statement)

    def new_name(self) -> str:
        """A name that this connection has never used; "" if only the unnamed statement is used."""
        return "" if self._nameless else self.unique_name()

    def unique_name(self) -> str:
        """A name that this connection has never used."""
        self._counter += 1
        return f"{self.prefix}{self._counter}"

    def was_cleared(self, statement: Statement) -> bool:
        """True if its name is gone because of a statement that this session itself has run before it."""
        return statement.clears != self.clears

    def described(self, statement: Statement, fields: tuple[FieldDescription, ...]) -> None:
        """A statement is described: are its types known?"""
        statement.rows_described(fields)
        if self.unknown_types(statement):
            self.unresolved.append((statement, fields))

    def refused(self, statement: Statement, error: PostgresError, event: ErrorResponse) -> bool:
        """The server has refused a statement: true if types may have been altered, and it can be repeated.

        Then what was learned is forgotten.  It can be repeated after a Bind, which has executed nothing.
        """
        if is_gone(error):
            self.forget_all()  # the type may be in any plan, and in no description
        elif not (
            is_outdated(error) and event.binding and any(self.types.learned(oid) for oid in statement.oids)
        ):
            return False
        self.types.forget()
        return event.binding

    def unknown_types(self, statement: Statement) -> list[int]:
        """The OIDs of its types that can be looked up.  A map without a parent learns nothing."""
        types = self.types
        if types.parent is None:
            return []
        oids = statement.oids
        if self.in_records and not _RECORDS.isdisjoint(oids):
            oids = (*oids, *self.in_records.difference(oids))
        return [oid for oid in oids if types.known(oid) is None and oid not in self.unknowable]

    def described_anew(self, sql: str, result_types: tuple[int, ...]) -> bool:
        """A text was described outside of the cache: if its types are others now, forget its statement.

        Returns:
            True if they are.
        """
        known = self._entries.get(sql)
        if known is None or known.state != READY or known.result_types == result_types:
            return False
        self.types.forget()
        self.forget(known)
        return True

    def undecodable(self, statement: Statement, raised: Exception) -> DataError:
        """The error for rows that could not be decoded.

        A type that was altered is looked up anew; one that only a record's value has named, before the next
        run.
        """
        if isinstance(raised, OutdatedTypeError):
            self.types.forget()
            self.forget(statement)
        elif isinstance(raised, UnknownTypeError) and raised.oid not in self.unknowable:
            self.in_records.add(raised.oid)
            self.forget(statement)
        return undecodable(raised)

    def waits(self, statement: Statement) -> bool:
        """True if a statement waits for a look-up of its types."""
        return any(each is statement for each, _ in self.unresolved)

    def unknown(self) -> list[int]:
        """The OIDs that statements wait for, each once."""
        oids: dict[int, None] = {}
        for statement, _ in self.unresolved:
            oids.update(dict.fromkeys(self.unknown_types(statement)))
        return list(oids)

    def settle(self) -> None:
        """Go on with the statements that wait for no type any more."""
        waiting, self.unresolved = self.unresolved, []
        for statement, fields in waiting:
            if self.unknown_types(statement):
                self.unresolved.append((statement, fields))
            else:
                statement.parameters_described(statement.parameter_types)
                statement.rows_described(fields)

    def stop_waiting(self) -> None:
        """Types cannot be looked up now: statements go on with text, and are prepared again the next time."""
        waiting, self.unresolved = self.unresolved, []
        for statement, _ in waiting:
            if not statement.users:  # else its user fails, and that drops it
                self.forget(statement)

    def doubt(self) -> None:
        """There may be a pooler in front of the server.  Call it before the first query."""
        self.direct = False
        self.unasked = self.named

    def unusable(self, statement: Statement) -> LocalProtocolError:
        """The error for a kept statement that cannot be run on this connection."""
        own = statement.home is self.mark or statement.home is None
        why = "was closed" if own else "belongs to another connection"
        return not_sent(f"the prepared statement {why}: {statement.sql}")

    def trim(self) -> None:
        """Evict unused statements above the size; called when an operation has ended."""
        if self.passing:
            self._doubt_unknowable()
        if len(self._entries) <= self.size:
            return
        for key, statement in list(self._entries.items()):
            if len(self._entries) <= self.size:
                return
            if statement.users == 0 and statement.state != PREPARING:
                del self._entries[key]
                self.close(statement)

    def _doubt_unknowable(self) -> None:
        self.passing = False
        for statement in self._ready():
            if not self.unknowable.isdisjoint(statement.oids):
                self.forget(statement)
        self.unknowable.clear()

    def drop(self, statement: Statement) -> None:
        """An error concerned this statement: forget it, and close its name on the server.

        While it has users, the name stays open: the error may be about one item's values, and a later Bind
        of another item would fail if the name were closed.
        """
        if statement.kept and (statement.state == READY or statement.renewed):
            if statement.state == PREPARING:
                self._renew(statement)
            return
        if self._entries.get(statement.key) is statement:
            del self._entries[statement.key]
        if statement.users and statement.state == READY:
            statement.leaving = True
        else:
            self.close(statement)

    def forget(self, statement: Statement) -> None:
        """The server no longer has this statement as it was: its next user prepares it again."""
        if not statement.kept:
            self.drop(statement)
        elif statement.state == READY:
            self._renew(statement)

    def forget_all(self) -> None:
        """Forget all statements, because others may be as stale as the one that failed.

        Unless `direct`, no more names are used: a pooler would prepare the same text again under a name that
        it has, which would stay stale.
        """
        self._nameless = self._nameless or not self.direct
        for statement in self._ready():
            self.forget(statement)

    def relearn(self, names: frozenset[str] | None) -> None:
        """The session itself has altered these tables or types (None: any): describe their users again.

        The server would keep using the old parameter types.
        """
        for statement in self._ready():
            if names is None or not names.isdisjoint(words_of(statement.sql)):
                self.forget(statement)

    def _renew(self, statement: Statement) -> None:
        """Give a kept statement another name; it remains the caller's object."""
        self.kept.pop(statement.name, None)
        if statement.declared:
            self._to_close.append(statement.name)
        statement.rename(self.new_name())
        statement.clears = self.clears

    def close(self, statement: Statement) -> None:
        """Close the statement's name with the next requests, or after the end of its last user."""
        if statement.state == DROPPED:
            return
        self.kept.pop(statement.name, None)
        if self._entries.get(statement.key) is statement:
            del self._entries[statement.key]
        if statement.users:
            statement.leaving = statement.state != NEW
        elif statement.declared:
            self._to_close.append(statement.name)
        statement.state = DROPPED

    def release(self, statement: Statement) -> None:
        """An operation that used the statement has ended."""
        statement.users -= 1
        if not statement.users and statement.leaving:
            statement.leaving = False
            statement.state = DROPPED
            if statement.declared:
                self._to_close.append(statement.name)

    def take_closes(self) -> list[str]:
        """The names to close now."""
        while self.dropped:
            self.close(self.dropped.pop())
        closes = self._to_close
        if closes:
            self._to_close = []
        return closes

    def clear(self) -> None:
        """The server has forgotten every statement (DISCARD ALL, DEALLOCATE ALL)."""
        self.clears += 1
        self.unknowable.clear()
        for statement in (*self._entries.values(), *self.kept.values()):
            statement.state = DROPPED
        self.kept.clear()
        self._entries.clear()
        self._to_close.clear()
