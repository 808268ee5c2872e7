r"""The text forms of what is made of other values: arrays, rows and ranges, cut into texts and put together.

    array        {1,NULL,"a b"}, {{1,2},{3,4}}, [2:3]={1,2}; in quotes, a backslash is before " and \
    row          (1,,"a b"); an empty field is NULL; in quotes, " and \ are doubled
    range        [1,5), (,"a b"], empty; a bound that there is not is empty; quotes are as in a row
    multirange   {[1,5),[7,9)}

Rule: what is read is what the server prints, which is less than what it takes.
Rule: no recursion, and linear time.

Sources: array_out, record_out, range_out and multirange_out in PostgreSQL's src/backend/utils/adt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from .codec import malformed_text

__all__ = [
    "read_array",
    "read_lower_bounds",
    "read_multirange",
    "read_range",
    "read_record",
    "write_array",
    "write_range",
    "write_record",
]

_MAX_DIMENSIONS: Final = 6
_QUOTED: Final = r'"([^"\\]*(?:(?:""|\\.)[^"\\]*)*)"'

_SUBSCRIPTS: Final = re.compile(r"(?:\[-?\d{1,10}:-?\d{1,10}\])+=", re.ASCII)
_LOWER: Final = re.compile(r"\[(-?\d+):", re.ASCII)
_FIELD: Final = re.compile(_QUOTED + r'|([^"\\(),]*)', re.DOTALL)
_BOUND: Final = _QUOTED + r'|([^"\\()\[\],]*)'
_RANGE: Final = re.compile(rf"([\[(])(?:{_BOUND}),(?:{_BOUND})([\])])", re.DOTALL)
_ESCAPED: Final = re.compile(r'[\\"](.)', re.DOTALL)

_PLAIN_ITEM: Final = re.compile(r'(?!null$)[^"\\{}\s]+', re.IGNORECASE)
_PLAIN_FIELD: Final = re.compile(r'[^"\\(),\s]+')
_PLAIN_BOUND: Final = re.compile(r'[^"\\()\[\],\s]+')


def _unescaped(text: str) -> str:
    return "".join(_ESCAPED.split(text))  # what is around the escapes, and what each stands for


def _doubled(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


def read_array(name: str, text: str, delimiter: str, lengths: list[int]) -> list[str | None]:
    """The elements of an array in row-major order; None is NULL.

    Args:
        name: of the type, for messages.
        text: the array.
        delimiter: what is between the elements: "," for nearly all types.
        lengths: an empty list, which gets the length of each dimension.

    Raises:
        DataError: it is no array, or its parts have different lengths.
    """
    element = re.compile(rf'"([^"\\]*(?:\\.[^"\\]*)*)"|([^"\\{{}}{re.escape(delimiter)}]+)', re.DOTALL)
    subscripts = _SUBSCRIPTS.match(text)
    start = position = subscripts.end() if subscripts else 0
    items: list[str | None] = []
    counts: list[int] = []  # for each brace that is open, the members that were read
    depth = 0  # of the elements; 0 while there are none
    complete = False  # an element or a closed brace was read last
    while position < len(text):
        char = text[position]
        if not counts and (position > start or char != "{"):
            raise malformed_text(name, "something around its braces")
        if char == "}" and (complete or not counts[-1]):
            count = counts.pop()
            if lengths[len(counts)] not in (-1, count):
                raise malformed_text(name, "ragged")
            lengths[len(counts)] = count
            complete = True
        elif complete:
            if char != delimiter:
                raise malformed_text(name, "no delimiter between two elements")
            complete = False
        elif char == "{":
            if len(counts) == (depth or _MAX_DIMENSIONS):
                raise malformed_text(name, "ragged, or too many dimensions")
            if counts:
                counts[-1] += 1
            counts.append(0)
            if len(lengths) < len(counts):
                lengths.append(-1)
        else:
            found = element.match(text, position)
            if found is None or len(counts) != (depth or len(lengths)):
                raise malformed_text(name, "a broken element")
            depth = len(counts)
            counts[-1] += 1
            quoted, plain = found.groups()
            items.append(_unescaped(quoted) if quoted is not None else None if plain == "NULL" else plain)
            complete = True
            position = found.end() - 1
        position += 1
    if counts or not lengths:
        raise malformed_text(name, "it ends within its braces")
    return items


def read_lower_bounds(text: str) -> list[int]:
    """The lower bounds of an array whose text has subscripts, as [0:2]={...}; [] if it has none.

    Args:
        text: of an array, as for `read_array`.
    """
    subscripts = _SUBSCRIPTS.match(text)
    return [int(bound) for bound in _LOWER.findall(text[: subscripts.end()])] if subscripts else []


def write_array(
    items: Sequence[str | None], delimiter: str, lengths: Sequence[int], bounds: Sequence[int] = ()
) -> str:
    """The text of an array.

    Args:
        items: the elements in row-major order; None is NULL.
        delimiter: what is between the elements.
        lengths: the length of each dimension.
        bounds: the first subscript of each dimension; none if all are 1.
    """
    if not items:
        return "{}"
    texts: list[str] = []
    for item in items:
        if item is None:
            texts.append("NULL")
        elif delimiter not in item and _PLAIN_ITEM.fullmatch(item):
            texts.append(item)
        else:
            texts.append('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"')
    for width in reversed(lengths):
        texts = [
            "{" + delimiter.join(texts[index : index + width]) + "}" for index in range(0, len(texts), width)
        ]
    subscripts = [
        f"[{bound}:{bound + length - 1}]" for bound, length in zip(bounds, lengths, strict=bool(bounds))
    ]
    return "".join(subscripts) + ("=" if bounds else "") + texts[0]


def read_record(name: str, text: str) -> list[str | None]:
    """The fields of a row; None is NULL.

    Args:
        name: of the type, for messages.
        text: the row.  `()` is one NULL, or a row without fields, which the text does not tell.

    Raises:
        DataError: it is no row.
    """
    fields: list[str | None] = []
    position = 0
    opened = "("
    while text.startswith(opened, position):
        found = _FIELD.match(text, position + 1)
        assert found is not None  # nothing at all is a field, too
        quoted, plain = found.groups()
        fields.append(_unescaped(quoted) if quoted is not None else plain or None)
        position = found.end()
        opened = ","
    if text[position:] != ")" or not fields:
        raise malformed_text(name, "it is not of the form (a,b)")
    return fields


def write_record(fields: Sequence[str | None]) -> str:
    """The text of a row.

    Args:
        fields: its fields; None is NULL.
    """
    texts: list[str] = []
    for field in fields:
        if field is None:
            texts.append("")
        else:
            texts.append(field if _PLAIN_FIELD.fullmatch(field) else _doubled(field))
    return "(" + ",".join(texts) + ")"


def read_range(name: str, text: str) -> tuple[str | None, str | None, str]:
    """The lower and the upper bound of a range that is not empty, and its brackets.

    Args:
        name: of the type, for messages.
        text: the range.

    Returns:
        None for a bound that there is not; and "[)" or the like.

    Raises:
        DataError: it is no range.
    """
    found = _RANGE.fullmatch(text)
    if found is None:
        raise malformed_text(name, "it is not of the form [a,b)")
    left, quoted_lower, plain_lower, quoted_upper, plain_upper, right = found.groups()
    lower = _unescaped(quoted_lower) if quoted_lower is not None else plain_lower or None
    upper = _unescaped(quoted_upper) if quoted_upper is not None else plain_upper or None
    return lower, upper, left + right


def write_range(lower: str | None, upper: str | None, brackets: str) -> str:
    """The text of a range that is not empty.

    Args:
        lower: the lower bound; None if there is none.
        upper: the upper bound; None if there is none.
        brackets: "[)" or the like.
    """
    texts: list[str] = []
    for bound in (lower, upper):
        if bound is None:
            texts.append("")
        else:
            texts.append(bound if _PLAIN_BOUND.fullmatch(bound) else _doubled(bound))
    return f"{brackets[0]}{texts[0]},{texts[1]}{brackets[1]}"


def read_multirange(name: str, text: str) -> list[str]:
    """The texts of a multirange's ranges.

    Args:
        name: of the type, for messages.
        text: the multirange.

    Raises:
        DataError: it is no multirange.
    """
    ranges: list[str] = []
    position = 0
    opened = "{"
    while text.startswith(opened, position) and text != "{}":
        found = _RANGE.match(text, position + 1)
        if found is None:
            break
        ranges.append(found.group())
        position = found.end()
        opened = ","
    if text != "{}" and (text[position:] != "}" or not ranges):
        raise malformed_text(name, "it is not of the form {[a,b),[c,d)}")
    return ranges
