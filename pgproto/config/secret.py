"""A text that is never shown.

Rule: only `reveal()` returns the text.  repr, str, format, %-formatting, pickle and copy do not, so a
password cannot reach a log, a traceback or a crash report because an object with it was printed.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import NoReturn

from ..errors import MASK

__all__ = ["Secret"]


class Secret:
    """A password or pass phrase; immutable, comparable and hashable, but not printable.

    Args:
        value: the text to keep.
    """

    __slots__ = ("_value",)

    _value: str

    def __init__(self, value: str) -> None:
        object.__setattr__(self, "_value", str.__str__(value))  # an exact str, if it is a subclass

    @classmethod
    def of(cls, value: str) -> Secret | None:
        """The text as a Secret; None for the empty text, because that is no password."""
        return cls(value) if value else None

    def reveal(self) -> str:
        """The text itself.  Pass it to the protocol; do not keep it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, format_spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, theirs = self._value, other._value
        return compare_digest(mine.encode("utf-8", "surrogatepass"), theirs.encode("utf-8", "surrogatepass"))

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled; pickle the connection string's source instead")
