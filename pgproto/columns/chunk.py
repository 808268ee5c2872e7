"""Kind and Chunk: the type of a column of an Arrow stream, and some of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..errors import DataError

__all__ = ["Chunk", "Kind"]

_SIZES: Final = {
    **dict.fromkeys("cC", 1),
    **dict.fromkeys("sSe", 2),
    **dict.fromkeys("iIf", 4),
    **dict.fromkeys("lLg", 8),
    **dict.fromkeys(("tdD", "tts", "ttm", "tiM"), 4),
    **dict.fromkeys(("tdm", "ttu", "ttn", "tiD"), 8),
    "tin": 16,
    **{f"tD{unit}": 8 for unit in "smun"},
}


class Kind:
    """The type of a column.

    Args:
        name: the column's name.
        format: the format string of Arrow's C interface.
        children: the elements of a list, or the columns of a struct.
        dictionary: the labels; then `format` is that of their indexes.

    Attributes:
        buffers: how many buffers it has; -1 for three or more.
        size: the bytes of a value of fixed width, or the elements of a list of fixed size.
        scale: of a decimal, its digits after the point.
    """

    __slots__ = ("buffers", "children", "dictionary", "format", "name", "scale", "size")

    def __init__(
        self, name: str, format: str, children: Sequence[Kind] = (), dictionary: Kind | None = None
    ) -> None:
        self.name = name
        self.format = format
        self.children = list(children)
        self.dictionary = dictionary
        self.size = 0
        self.scale = 0
        self.buffers = 2
        if format in _SIZES:
            self.size = _SIZES[format]
        elif format[:2] == "ts" and format[2:4] in ("s:", "m:", "u:", "n:"):
            self.size = 8
        elif format.startswith(("w:", "+w:")):
            self.size = self._number(format.rpartition(":")[2])
            self.buffers = 1 if format[0] == "+" else 2
        elif format.startswith("d:"):
            precision, _, rest = format[2:].partition(",")
            scale, _, bits = rest.partition(",")
            self._number(precision)
            self.scale = self._number(scale.removeprefix("-")) * (-1 if scale.startswith("-") else 1)
            self.size = self._number(bits or "128") // 8
        elif format in ("u", "U", "z", "Z"):
            self.buffers = 3
        elif format in ("vu", "vz"):
            self.buffers = -1
        elif format == "n":
            self.buffers = 0
        elif format == "+s":
            self.buffers = 1
        elif format not in ("b", "+l", "+L"):
            raise self.unreadable()
        if format != "+s" and len(self.children) != (format[0] == "+"):
            raise self.unreadable()

    def _number(self, text: str) -> int:
        if not text.isdecimal() or len(text) > 9:
            raise self.unreadable()
        return int(text)

    def unreadable(self) -> DataError:
        """The error for a type that cannot be read."""
        return DataError(f"column {self.name!r} has the Arrow type {self.format!r}, which cannot be copied")


class Chunk:
    """Some rows of a column.

    Attributes:
        kind: its type.
        rows: how many.
        nulls: those that are NULL.
        data: the values of fixed width (bool: a byte each), or the bytes between `ends`.
        ends: where each value begins, and the last one ends, in a buffer of which `data` or `items` have the
            part from the first on.
        pieces: the values, instead of `data` and `ends`.
        items: the elements of lists.
        labels: the dictionary.
    """

    __slots__ = ("data", "ends", "items", "kind", "labels", "nulls", "pieces", "rows")

    def __init__(self, kind: Kind, rows: int, nulls: list[int]) -> None:
        self.kind = kind
        self.rows = rows
        self.nulls = nulls
        self.data = b""
        self.ends: list[int] = []
        self.pieces: list[bytes] | None = None
        self.items: Chunk | None = None
        self.labels: Chunk | None = None
