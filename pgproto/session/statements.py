"""Prepared statements, and the cache that knows which of them the server has.

A `Statement` is what Parse and Describe have told about one SQL text: the parameters' encoder and the
rows' decoder.  Its name is never used twice, so a name that is gone on the server (DISCARD ALL, a pooler's
other session) or left over from a failure can never be taken for another statement.

The rules of the cache: an entry exists from the moment its Parse is sent; any error of a statement drops
its entry, because "cached plan must not change result type" and its relatives have many codes; a dropped
or evicted name is closed on the server with the next flight (protocol Close, which works in an aborted
transaction too, and is not an error for an unknown name).

A pooler may keep the statement's text, and parse it anew on another server, or go on with what it has there,
and tell nobody.  What the text means on that server may be something else by now: a migration has been run.
So where the server itself is not known to keep it (`direct`), its types are learned without a name, which
goes past such a pooler; its name is declared with the types of its parameters, and every run asks for its
columns.  A sign of a migration, or of a name that is gone, is the last that the session does with names.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ..errors import LocalProtocolError, not_sent
from ..types import ParameterEncoder, RowDecoder
from ..wire import FieldDescription
from ..wire.binding import BindTemplate
from .sql import check_no_copy_in, check_sql, describes_late, is_plain, leaves_no_trace, words_of

__all__ = ["Statement", "StatementCache"]

NEW: Final = 0
PREPARING: Final = 1
READY: Final = 2
DROPPED: Final = 3


class Statement:
    """One prepared statement of one connection.

    Attributes:
        sql: its text.
        name: its name on the server; "" for the unnamed statement, which is parsed before each use.
        state: NEW, PREPARING, READY or DROPPED.
        parameter_types: the OIDs of its parameters.
        columns: the names of its result's columns; () if it returns no rows.
        declared: a Parse with its name was sent.
        home: the mark of the cache of the connection that prepared it; None before that.
        late: what it returns is known only when it runs: it is parsed and described before each run.
        kept: the caller holds it (`conn.prepare`): it is in no cache, and no error drops it.
        users: how many operations have items of it that may still be written.
        renewed: it is kept, and was out of date once: until it is READY again, it waits to be prepared.
        leaving: nobody new uses it, and its name is closed when its last user has ended.
        clears: how often the server had been told to forget all of them when it got its name.

    Raises:
        LocalProtocolError: no message can carry the text, or it is COPY FROM STDIN.
    """

    __slots__ = (
        "_decoder",
        "_encoder",
        "_result_types",
        "_template",
        "clears",
        "declared",
        "home",
        "kept",
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

    def __init__(self, sql: str, name: str, *, kept: bool = False) -> None:
        self.clears = 0
        self.sql = sql = check_sql(sql)
        check_no_copy_in(sql)
        self.late = describes_late(sql)
        # The server describes a named statement as it was when it was parsed, so a late one has no name.
        self.name = "" if self.late else name
        self.kept = kept
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
        self._result_types: tuple[int, ...] = ()
        self._encoder = _NO_PARAMETERS
        self._decoder = _NO_ROWS
        self._template: BindTemplate | None = None

    @property
    def encoder(self) -> ParameterEncoder:
        """What turns argument values into the bytes of a Bind."""
        return self._encoder

    @property
    def decoder(self) -> RowDecoder:
        """What turns DataRows into rows."""
        return self._decoder

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the result's columns."""
        return self._decoder.columns

    @property
    def result_types(self) -> tuple[int, ...]:
        """The OIDs of the result's columns."""
        return self._result_types

    def template(self) -> BindTemplate:
        """What its Binds share."""
        if self._template is None:
            self._template = BindTemplate(self.name, self._encoder.formats, self.result_formats)
        return self._template

    def rename(self, name: str) -> None:
        """It will be prepared anew."""
        self.name = "" if self.late else name
        self.declared = False
        self.state = NEW
        self.leaving = False
        self.renewed = True
        self._template = None

    def parameters_described(self, types: tuple[int, ...]) -> None:
        """ParameterDescription arrived."""
        self.parameter_types = types
        self._encoder = ParameterEncoder(types)
        self._template = None

    def rows_described(self, fields: tuple[FieldDescription, ...]) -> None:
        """RowDescription arrived (or NoData: no fields)."""
        self._decoder = RowDecoder(fields)
        self._result_types = tuple(field.type_oid for field in fields)
        self.result_formats = self._decoder.result_formats
        self._template = None

    def returns(self, fields: tuple[FieldDescription, ...]) -> bool:
        """True if it is known to return these columns."""
        types = tuple([field.type_oid for field in fields])
        return types == self._result_types and tuple([field.name for field in fields]) == self.columns

    def rows_changed(self, fields: tuple[FieldDescription, ...]) -> bool:
        """The text was parsed anew and returns other columns, in the formats that were asked for before.

        Returns:
            False if they cannot be read: these formats are not those of the new columns' types.
        """
        decoder = RowDecoder(fields)
        asked = self.result_formats
        if len(asked) == 1:
            asked = asked * len(fields)  # manual: "Message Formats", Bind
        if decoder.result_formats != asked:
            return False
        self._decoder = decoder
        self._result_types = tuple([field.type_oid for field in fields])
        return True

    def __repr__(self) -> str:
        return f"<Statement {self.name!r} {self.sql!r}>"


_NO_PARAMETERS: Final = ParameterEncoder(())
_NO_ROWS: Final = RowDecoder(())


class StatementCache:
    """The statements of one connection, least recently used first.

    Args:
        size: how many are kept (0: each is closed after its use).
        prefix: what makes the names of this connection its own.
        named: False to use only the unnamed statement, for poolers that switch servers between
            transactions; then an entry saves the Describe, and each use sends its Parse again.

    Attributes:
        mark: what its statements have as their `home`.
        dropped: those that callers had kept, and nobody refers to any more.  Whatever finds that out, in any
            thread, does no more than to append it here.
        direct: the server keeps what it was given by a name, and says when that has changed; False if a
            pooler may do that in its place, or as long as that is not known.
        unasked: that was not asked yet; see `whereabouts`.
        clears: how often a statement of this session has made the server forget all of them.
    """

    __slots__ = (
        "_counter",
        "_entries",
        "_nameless",
        "_to_close",
        "clears",
        "direct",
        "dropped",
        "kept",
        "mark",
        "named",
        "prefix",
        "size",
        "unasked",
    )

    def __init__(self, size: int, prefix: str, *, named: bool = True) -> None:
        self.size = size
        self.prefix = prefix
        self.named = named
        self._entries: OrderedDict[str, Statement] = OrderedDict()
        self.kept: dict[str, Statement] = {}  # those that callers keep, by name
        self.dropped: list[Statement] = []
        self._to_close: list[str] = []
        self._counter = 0
        self._nameless = not named  # no statement gets a name any more
        self.direct = True
        self.unasked = False
        self.clears = 0
        self.mark = object()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, sql: str) -> Statement:
        """The statement for this text: the one that is known, or a NEW one."""
        known = self._entries.get(sql)
        if known is not None:
            self._entries.move_to_end(sql)
            return known
        statement = Statement(sql, self.new_name())
        statement.clears = self.clears
        self._entries[sql] = statement
        return statement

    def new_name(self) -> str:
        """A name that this connection has never used; "" where statements have none."""
        return "" if self._nameless else self.unique_name()

    def unique_name(self) -> str:
        """A name that this connection has never used."""
        self._counter += 1
        return f"{self.prefix}{self._counter}"

    def was_cleared(self, statement: Statement) -> bool:
        """True if its name is gone by what this session has run itself, ahead of it in the pipeline."""
        return statement.clears != self.clears

    def doubt(self) -> None:
        """There may be a pooler in front of the server.  To be said before the first query."""
        self.direct = False
        self.unasked = self.named

    def unusable(self, statement: Statement) -> LocalProtocolError:
        """Why a statement that the caller holds cannot be run on this connection."""
        own = statement.home is self.mark or statement.home is None
        why = "was closed" if own else "belongs to another connection"
        return not_sent(f"the prepared statement {why}: {statement.sql}")

    def trim(self) -> None:
        """Evict what is over the size and not in use; called when an operation has ended."""
        if len(self._entries) <= self.size:
            return
        for sql, statement in list(self._entries.items()):
            if len(self._entries) <= self.size:
                return
            if statement.users == 0 and statement.state != PREPARING:
                del self._entries[sql]
                self.close(statement)

    def drop(self, statement: Statement) -> None:
        """An error concerned this statement: forget it, and close its name on the server.

        Not under the hands of those that use it: the error may be about one item's values, and a Bind of the
        name that is written later would fail for no fault of its own.
        """
        if statement.kept and (statement.state == READY or statement.renewed):
            if statement.state == PREPARING:
                self._renew(statement)
            return
        if self._entries.get(statement.sql) is statement:
            del self._entries[statement.sql]
        if statement.users and statement.state == READY:
            statement.leaving = True
        else:
            self.close(statement)

    def forget(self, statement: Statement) -> None:
        """What the server has is not this statement any more: its next user prepares it anew."""
        if not statement.kept:
            self.drop(statement)
        elif statement.state == READY:
            self._renew(statement)

    def forget_all(self) -> None:
        """What made one statement stale may have done so to others.

        A pooler would prepare the same text under the name that it has, so it would stay stale.
        """
        self._nameless = self._nameless or not self.direct
        for statement in (*self._entries.values(), *self.kept.values()):
            if statement.state == READY:
                self.forget(statement)

    def relearn(self, names: frozenset[str] | None) -> None:
        """The session itself has altered what these names stand for (None: any): learn them anew when used.

        The server would go on with the types that the parameters had.
        """
        for statement in (*self._entries.values(), *self.kept.values()):
            if statement.state == READY and (names is None or not names.isdisjoint(words_of(statement.sql))):
                self.forget(statement)

    def _renew(self, statement: Statement) -> None:
        """One that a caller keeps stays what it is, and gets another name."""
        self.kept.pop(statement.name, None)
        if statement.declared:
            self._to_close.append(statement.name)
        statement.rename(self.new_name())
        statement.clears = self.clears

    def close(self, statement: Statement) -> None:
        """Have the statement's name closed with the next flight, or with the end of its last user."""
        if statement.state == DROPPED:
            return
        self.kept.pop(statement.name, None)
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
        for statement in (*self._entries.values(), *self.kept.values()):
            statement.state = DROPPED
        self.kept.clear()
        self._entries.clear()
        self._to_close.clear()
