"""Placeholders: `%s` and `%(name)s` become $1, $2, ...; the values travel as parameters, as always.

The text is cut into tokens as PostgreSQL cuts it, so that what is in quotes, dollar quotes and comments is no
placeholder.  With values, `%%` is a percent sign, in quotes too, as in other drivers, and any other percent
sign outside of quotes and comments is an error.  Without values a text is sent as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

from pgproto import named
from pgproto.session.placeholders import tokens

from .errors import ProgrammingError

__all__ = ["Parameters", "Style", "binder", "is_script"]

Style: TypeAlias = Literal["numeric_dollar", "format", "pyformat"]
Parameters: TypeAlias = "Sequence[Any] | Mapping[str, Any]"
Binder: TypeAlias = Callable[[Parameters], Sequence[Any]]

_PERCENT: Final = re.compile(r"%(?:(?P<escape>%)|(?:\((?P<name>[^()]*)\))?(?P<kind>[sbt]))?")
_LETTER: Final = r"[A-Za-z_0-9$\x80-\U0010ffff]"
_TOUCHES: Final = re.compile(rf"(?<={_LETTER})(?=%(?:\([^()]*\))?[sbt])")
_QUOTES: Final = frozenset({"quoted", "open", "dollar"})


def binder(style: Style, sql: str, sample: Parameters) -> tuple[str, Binder]:
    """The text that the server gets, and what makes its values of parameters like the sample.

    Raises:
        ProgrammingError: a percent sign is no placeholder, the kinds of placeholders are mixed, or do not fit
            the kind of the parameters.
        LocalProtocolError: see `named`.
    """
    mapping = isinstance(sample, Mapping)
    if style == "numeric_dollar":
        if not isinstance(sample, Mapping):
            return sql, _as_they_are
        text, names, positions = _named(sql, frozenset(sample))
    else:
        text, names, positions = _rewritten(sql)
    if not mapping and not names:
        return text, _as_they_are
    if not mapping:
        raise ProgrammingError("the statement's parameters have names: pass a mapping of values")
    if positions:
        raise ProgrammingError("the statement's parameters have no names: pass a sequence of values")
    return text, lambda values: _by_name(names, values)


def is_script(sql: str) -> bool:
    """True if the text has several statements (or a function's body with some)."""
    if ";" not in sql:
        return False
    ended = False
    for kind, token in tokens(sql):
        if kind not in ("blank", "comment"):
            if ended:
                return True
            ended = token == ";"  # noqa: S105
    return False


def _as_they_are(values: Parameters) -> Sequence[Any]:
    if isinstance(values, Mapping):
        raise ProgrammingError("pass a sequence of values, not a mapping")
    return values


def _by_name(names: Sequence[str], values: Parameters) -> Sequence[Any]:
    if not isinstance(values, Mapping):
        raise ProgrammingError("pass a mapping of values, not a sequence")
    try:
        return [values[name] for name in names]
    except KeyError as error:
        raise ProgrammingError(f"no value for {error}") from None


@lru_cache(maxsize=1000)
def _named(sql: str, given: frozenset[str]) -> tuple[str, tuple[str, ...], int]:
    """As `_rewritten`, for `$name` and `:name`."""
    query = named(sql, {name: name for name in given})
    return query.sql, tuple(str(name) for name in query.args), 0


@lru_cache(maxsize=1000)
def _rewritten(sql: str) -> tuple[str, tuple[str, ...], int]:
    """The text with $1, $2, ..., the names of the parameters in this order, and how many have no names."""
    numbers: dict[str, int] = {}
    positions = 0

    def replace(found: re.Match[str]) -> str:
        nonlocal positions
        if found["escape"]:
            return "%"
        if not found["kind"]:
            raise ProgrammingError("a percent sign that is no placeholder: write %% for it")
        name = found["name"]
        if name is not None:
            return f"${numbers.setdefault(name, len(numbers) + 1)}"
        positions += 1
        return f"${positions}"

    parts: list[str] = []
    code = ""
    for kind, token in [*tokens(sql), ("comment", "")]:
        if kind not in _QUOTES and kind != "comment" and not token.startswith("--"):
            code += token
            continue
        if code:
            parts.append(_PERCENT.sub(replace, _spaced(code)))
            code = ""
        parts.append(token.replace("%%", "%") if kind in _QUOTES else token)
    if numbers and positions:
        raise ProgrammingError("the statement has both %s and %(name)s")
    return "".join(parts), tuple(numbers), positions


def _spaced(code: str) -> str:
    """The text with a space where a placeholder would touch a name or a number."""
    after = re.sub(rf"(%(?:\([^()]*\))?[sbt])(?={_LETTER})", r"\1 ", code)
    return _TOUCHES.sub(" ", after)
