"""Named parameters: `named("select ... where id = :id", id=7)` is a query with its values.

The names become $1, $2, ...; the values travel as parameters, as always.  This is no parser: the text is cut
into tokens as PostgreSQL's lexer does it (src/backend/parser/scan.l, with `standard_conforming_strings` on),
and only what is a placeholder is replaced.  A `$name` or `:name` in quotes, in a dollar quote, in a comment
or in a longer name is none, nor are `::`, `:=` and the colon of an array slice.

Rule: a colon directly in a subscript is a slice: `a[1:n]` and `a[:n]` have no placeholder.  `a[$n]` has, and
so has `a[(:n)]`.  In `array[:x, :y]` there is no slice.

Rule: the rest of the text is left as it is, but for a space where a placeholder would touch a name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..errors import not_sent
from .sql import as_text

__all__ = ["NamedQuery", "count_of", "named", "tokens"]

_BLANK: Final = r"[ \t\n\r\f\v]"
_LETTER: Final = r"[A-Za-z_\x80-\U0010ffff]"
_LETTERS: Final = r"[A-Za-z_0-9\x80-\U0010ffff]"
_BODY: Final = r"'(?:[^'\\]|\\.|'')*+'"
# Strings with a newline between them are one string, so that the second has backslashes, too.
_NEXT: Final = rf"(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:{_BLANK}|--[^\n\r]*+[\n\r])*+"
_TOKEN: Final = re.compile(
    rf"""(?P<blank>{_BLANK}++|--[^\n\r]*+)
    |(?P<comment>/\*)
    |(?P<quoted>[eE]{_BODY}(?:{_NEXT}{_BODY})*+|'[^']*+'|"[^"]*+")
    |(?P<open>[eE]?'|")
    |(?P<dollar>\$(?:{_LETTER}{_LETTERS}*+)?\$)
    |(?P<word>{_LETTER}(?:{_LETTERS}|\$)*+|[0-9]{_LETTERS}*+)
    |(?P<name>[:$]{_LETTER}{_LETTERS}*+)
    |(?P<number>\$[0-9]++)
    |(?P<value>\0)
    |::|:=|.""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
_TOUCHES: Final = re.compile(rf"{_LETTERS}|\$")

# Where a colon is what.
_PARENTHESES: Final = "("
_ARRAY: Final = "array["
_SUBSCRIPT: Final = "["


class NamedQuery:
    """A query and its values: what `named` returns, for every call that takes a query.

    Attributes:
        sql: the statement, with parameters $1, $2, ...
        args: their values.
    """

    __slots__ = ("args", "sql")

    def __init__(self, sql: str, args: tuple[object, ...]) -> None:
        self.sql = sql
        self.args = args

    def __repr__(self) -> str:
        return f"<NamedQuery {self.sql!r}>"  # values may be secret


def named(_query: Any, _values: Mapping[str, object] | None = None, /, **others: object) -> NamedQuery:
    """A query with named parameters, `:name` or `$name`.  A name that occurs twice is one parameter.

    Compiled, a parameter has its name even if it is passed by position only: no name of SQL may be the same.

    Args:
        _query: one SQL statement; or a template string of Python 3.14, each of whose interpolations is a
            parameter: `named(t"select ... where id = {number}")`.
        _values: the values by name.
        others: more values.

    Returns:
        The query, to be passed to `fetch`, `execute`, `stream`, `Batch.queue` and the like, without values.

    Raises:
        TypeError: the query is neither a str nor a template.
        LocalProtocolError: a name has no value, or a value no name; the text has $1, too; an interpolation
            is in quotes or a comment, or has a conversion or a format, which would have no effect.
    """
    given: dict[str, object] = {} if _values is None else dict(_values)
    twice = given.keys() & others.keys()
    if twice:
        raise not_sent(f"two values for {_listed(twice)}")
    given.update(others)
    if isinstance(_query, str) or not (hasattr(_query, "strings") and hasattr(_query, "interpolations")):
        return _Rewriter(as_text(_query, "the query"), given, ()).query()
    for each in _query.interpolations:
        if each.conversion is not None or each.format_spec:
            raise not_sent("an interpolation is a parameter: it has no conversion and no format")
    text = "\0".join([as_text(each, "a part of the template") for each in _query.strings])
    return _Rewriter(text, given, [each.value for each in _query.interpolations]).query()


def count_of(sql: str) -> int:
    """The number of parameters: the highest of $1, $2, ..."""
    if "$" not in sql:
        return 0
    return max([int(text[1:]) for kind, text in tokens(sql) if kind == "number"], default=0)


def tokens(sql: str) -> list[tuple[str, str]]:
    """A text cut into tokens as PostgreSQL's lexer does it; put together again they are the text.

    Args:
        sql: one statement, or several.

    Returns:
        The kind of each token, and its text: "blank" (with comments to the end of a line), "comment",
        "quoted", "dollar" (a dollar quote), "open" (a quote that does not end), "word", "name" (`:name` and
        `$name`), "number" (`$1`), "value" (a NUL), "other".
    """
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(sql):
        token = _TOKEN.match(sql, at)
        assert token is not None  # its last alternative is any character
        kind = token.lastgroup or "other"
        stop = token.end()
        if kind == "comment":
            stop = _end_of_comment(sql, stop)
        elif kind == "dollar":
            end = sql.find(token.group(), stop)
            stop = len(sql) if end < 0 else end + len(token.group())
        elif kind == "open":
            stop = len(sql)  # the server will say so
        found.append((kind, sql[at:stop]))
        at = stop
    return found


class _Rewriter:
    """Replaces the placeholders of one text.

    Args:
        sql: the text; a NUL is where an interpolation was.
        given: the values by name.
        inserted: the values of the interpolations.
    """

    __slots__ = (
        "args",
        "given",
        "inserted",
        "inside",
        "missing",
        "numbers",
        "parts",
        "previous",
        "slices",
        "sql",
    )

    def __init__(self, sql: str, given: dict[str, object], inserted: Sequence[object]) -> None:
        self.sql = sql
        self.given = given
        self.inserted = list(reversed(inserted))  # the next one last
        self.args: list[object] = []
        self.numbers: dict[str, int] = {}
        self.missing: list[str] = []
        self.parts: list[str] = []
        self.inside: list[str] = []  # the brackets around, the innermost last
        self.previous = ""  # the last token that is neither blank nor comment
        self.slices: set[str] = set()

    def query(self) -> NamedQuery:
        """The result.

        Raises:
            LocalProtocolError: see `named`.
        """
        at = 0
        for kind, text in tokens(self.sql):
            at += len(text)
            if kind == "name" or kind == "value":
                self._placeholder(text, at)
            elif kind == "number":
                raise not_sent(f"{text} beside names: a query has either", self.sql)
            else:
                if "\0" in text:
                    raise not_sent("an interpolation (or a NUL) is in quotes or a comment")
                if kind == "word" or kind == "other":
                    self._bracket(text)
                self.parts.append(text)
            if kind != "blank" and kind != "comment":
                self.previous = text
        self._check()
        return NamedQuery("".join(self.parts), tuple(self.args))

    def _bracket(self, found: str) -> None:
        inside = self.inside
        if found == "(":
            inside.append(_PARENTHESES)
        elif found == "[":
            nested = bool(inside) and inside[-1] == _ARRAY and self.previous in ("[", ",")
            inside.append(_ARRAY if nested or self.previous.lower() == "array" else _SUBSCRIPT)
        elif found in (")", "]") and inside:
            inside.pop()

    def _placeholder(self, found: str, stop: int) -> None:
        name = found[1:]
        if found[0] == ":" and self.inside and self.inside[-1] == _SUBSCRIPT:
            self.slices.add(name)
            self.parts.append(found)
            return
        if not name:
            if not self.inserted:
                raise not_sent("the SQL text cannot be sent: it contains a NUL character")
            self.args.append(self.inserted.pop())
            number = len(self.args)
        elif name in self.numbers:
            number = self.numbers[name]
        else:
            if name in self.given:
                self.args.append(self.given[name])
            else:
                self.missing.append(name)
            number = self.numbers[name] = len(self.args)
        before = self.parts[-1] if self.parts else ""
        if before and _TOUCHES.match(before, len(before) - 1):
            self.parts.append(" ")
        self.parts.append(f"${number}")
        if _TOUCHES.match(self.sql, stop):
            self.parts.append(" ")

    def _check(self) -> None:
        problems: list[str] = []
        if self.missing:
            problems.append(f"no value for {_listed(self.missing)}")
        unused = self.given.keys() - self.numbers.keys()
        if unused:
            problems.append(f"the text has no parameter {_listed(unused)}")
        if unused & self.slices:
            name = min(unused & self.slices)
            problems.append(f"in a subscript :{name} is a slice: write ${name}")
        if problems:
            raise not_sent("; ".join(problems), self.sql)


def _end_of_comment(sql: str, at: int) -> int:
    """Where the comment ends whose beginning ends at `at`; comments nest."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(sql, at):
        depth += 1 if edge.group() == "/*" else -1
        if not depth:
            return edge.end()
    return len(sql)


def _listed(names: Any) -> str:
    return ", ".join(sorted(repr(name) for name in names))
