"""Running statements with their values spelled out in the text: the mode `simple_protocol`.

One simple Query for a statement, or for all statements of an atomic batch.  For consoles of poolers and for
servers that know nothing else.  Manual: "Simple Query".

Why no value can break out of its literal: quotes and backslashes are doubled, and a text with backslashes is
an E'' string, which is read alike whatever `standard_conforming_strings` says (`quote_literal`).  Negative
numbers are in parentheses, so that no `-` before one begins a comment; what has a type is
`('text'::pg_catalog.type)`, one expression as a parameter is one; there is a space on either side.

What is a parameter is said by PostgreSQL's lexical rules, with `standard_conforming_strings` on: a `$1` in
quotes, in a dollar quote or in a comment is none.  So the session is refused while that is off, or while its
client_encoding is not UTF8; and nothing is encoded before everything in flight is answered, because it may
change them.  (The items of a batch that is not atomic are in flight together, so their texts have no
backslash, which alone is read differently.)  A parameter beside a string is refused, because strings that
follow each other are one.

Rule: an item is one statement, so that each result belongs to its item.  A text that is not is refused; if
the server sees it otherwise, the session ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from ..config.options import is_utf8
from ..errors import Outcome, RemoteProtocolError, not_sent
from ..types import InferredEncoder, TypeMap, quote_literal
from ..wire import CommandComplete, CopyFail, CopyInResponse, ErrorResponse, FieldDescription, Message
from .blind import Blind, TextStatement
from .channel import Channel
from .operation import WAITING
from .placeholders import count_of, tokens
from .segment import Segment
from .simple import Opening
from .sql import NO_DATA, check_sql, statements_in
from .statements import Statement, StatementCache

__all__ = ["Spelled"]

_BESIDE: Final = "a parameter beside a string: PostgreSQL would read both as one string"
_OPEN: Final = "a quote or a comment does not end"
_SEVERAL: Final = "a text is one statement here: several go through script(), or each on its own into a Batch"
_IN_BATCH: Final = "with others, a statement has no ; within it and is not empty: send it by itself"
_BACKSLASH: Final = "in a batch that is not atomic, a text has no backslash: what is before it may change it"
_PREPARED: Final = "the simple protocol cannot run a prepared statement: pass its text, or another mode"
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")


class _Literals(InferredEncoder):
    """Makes the text of a statement with its values in it.

    Raises:
        LocalProtocolError: the text is not one statement, or has a parameter where no literal can be.
    """

    __slots__ = ("_numbers", "_parts", "alone")

    def __init__(self, sql: str, types: TypeMap) -> None:
        super().__init__(count_of(sql), types)
        self._parts: list[str] = []  # what is around the parameters
        self._numbers: list[int] = []
        part: list[str] = []
        before = last = ""  # the last token that is neither blank nor comment, if that counts; the last blank
        several = divided = False
        for kind, text in tokens(sql):
            _check_end(kind, text, sql)
            if kind == "blank" or kind == "comment":
                part.append(text)
                last = text
                continue
            literal = kind == "number" or (kind == "quoted" and text[0] != '"')
            if literal and before and "number" in (kind, before):
                raise not_sent(_BESIDE, sql)
            before = kind if literal else ""
            last = ""
            several = several or (divided and text != ";")
            divided = divided or text == ";"
            if kind == "number":
                self._parts.append("".join(part))
                self._numbers.append(int(text[1:]))
                part = []
            else:
                part.append(text)
        if last.startswith("--"):
            part.append("\n")
        self._parts.append("".join(part))
        statements = statements_in(sql)
        if len(statements) > 1:
            raise not_sent(_SEVERAL, sql)
        self.alone = several or not statements

    def add(self, parts: list[bytes], values: Sequence[Any]) -> int:
        """Append the text."""
        texts = self.texts(values)
        found = [self._parts[0]]
        for index, number in enumerate(self._numbers):
            found.append(f" {_literal(texts[number - 1], self.names[number - 1])} ")
            found.append(self._parts[index + 1])
        data = check_sql("".join(found)).encode()
        parts.append(data)
        return len(data)


def _literal(text: str | None, name: str) -> str:
    if text is None:
        return "NULL"
    if name in ("int4", "int8"):
        return f"({text})" if text.startswith("-") else text
    return f"({quote_literal(text)}::pg_catalog.{name})" if name else quote_literal(text)


def _check_end(kind: str, text: str, sql: str) -> None:
    """What is not closed would go on in the next statement."""
    if kind == "comment":
        edges = _COMMENT_EDGE.findall(text)
        is_open = 2 * edges.count("/*") != len(edges)
    elif kind == "dollar":
        tag = text[: text.index("$", 1) + 1]
        is_open = len(text) < 2 * len(tag) or not text.endswith(tag)
    else:
        is_open = kind == "open"
    if is_open:
        raise not_sent(_OPEN, sql)


class Spelled(Blind):
    """The mode `simple_protocol`."""

    __slots__ = ()

    def _look_up(self, cache: StatementCache, new: list[Statement]) -> None:
        for item in self.items:
            if item.statement is not None and not isinstance(item.statement, TextStatement):
                self.rejected[item.sql] = not_sent(_PREPARED, item.sql)
        super()._look_up(cache, new)

    def encoder_of(self, sql: str, types: TypeMap) -> InferredEncoder:
        """The encoder of a text's parameters: it makes the text to send."""
        if "\\" in sql and not self.atomic and len(self.items) > 1:
            raise not_sent(_BACKSLASH, sql)
        encoder = _Literals(sql, types)
        if encoder.alone and self.atomic and len(self.items) > 1:
            raise not_sent(_IN_BATCH, sql)
        return encoder

    def produce(self, channel: Channel) -> int:
        """Write the items, once the settings of the session are known for certain."""
        if not (self.finished or self._encoded or channel.awaits(self)):
            if channel.segments:
                return WAITING
            parameters = channel.connection.parameters
            for name, right in (
                ("standard_conforming_strings", parameters.get("standard_conforming_strings") == "on"),
                ("client_encoding", is_utf8(parameters.get("client_encoding", ""))),
            ):
                if not right:
                    value = parameters.get(name)
                    raise not_sent(f"the simple protocol takes no values while {name} is {value}")
        return super().produce(channel)

    def _write_next(self, channel: Channel) -> None:
        """Write the next item, or all that are left of an atomic batch, as one Query."""
        first = self._next
        if self.items[first].parameters is None:
            self._next += 1
            return  # this item has already failed
        if channel.due(self):
            Opening(self).send(channel)
            return
        last = len(self.items) if self.atomic else first + 1
        texts: list[str] = []
        plain = traceless = True
        for item in self.items[first:last]:
            assert item.parameters is not None  # of an atomic batch, all were encoded
            assert item.statement is not None
            texts.append(item.parameters.decode())
            item.parameters = None
            plain = plain and item.statement.plain and ";" not in item.sql.rstrip().rstrip(";")
            traceless = traceless and item.statement.traceless
        text = check_sql("; ".join(texts))
        segment = channel.open(self, first)
        segment.plain = plain
        if not traceless:
            channel.dirty = True
        self.begun = True
        self._next = segment.last = last
        channel.simple_query(segment, text)

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Pass an event to the item that is being answered."""
        if isinstance(event, CommandComplete):
            self.completed(channel, segment, event.command_tag, 1)
        elif isinstance(event, CopyInResponse):
            channel.write(CopyFail(NO_DATA))
        else:
            if isinstance(event, ErrorResponse):
                event.error.fields.pop("P", None)  # it is a place in the text with the values
            super().handle(channel, segment, event)

    def described_anew(
        self, channel: Channel, segment: Segment, fields: tuple[FieldDescription, ...]
    ) -> None:
        """The columns of an item."""
        self._check_place(segment)
        super().described_anew(channel, segment, fields)

    def completed(self, channel: Channel, segment: Segment, tag: str, count: int) -> None:
        """An item has ended with this command tag."""
        self._check_place(segment)
        super().completed(channel, segment, tag, count)

    def _check_place(self, segment: Segment) -> None:
        if segment.position >= segment.last:
            raise RemoteProtocolError("a simple Query has more results than statements")

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """ReadyForQuery: label the segment's items."""
        if segment.error is None and segment.position < segment.last:
            raise RemoteProtocolError("a simple Query has fewer results than statements")
        super().segment_done(channel, segment)

    def fail(self, channel: Channel, error: BaseException) -> None:
        """End with this error: the transaction block that it is in could not be opened."""
        for item in self.items:
            if item.outcome is None:
                item.outcome = Outcome.SKIPPED
                item.error = error if isinstance(error, Exception) else None
        self.error = self.error or error
        self._end(channel)
