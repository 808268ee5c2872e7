"""Values that did not fit, and may fit after all: the types of their parameters may have changed."""

from __future__ import annotations

from ..errors import DataError
from .statements import Statement

__all__ = ["Doubts"]


class Doubts:
    """The errors of the values of one operation, by the index of the item."""

    __slots__ = ("_errors",)

    def __init__(self) -> None:
        self._errors: dict[int, tuple[tuple[object, ...], DataError]] = {}

    def add(self, index: int, statement: Statement, error: DataError, *, fresh: bool) -> bool:
        """Note the error of a value.

        Args:
            index: the item.
            statement: its statement.
            error: the error.
            fresh: the statement was described for this operation.

        Returns:
            True if the statement is to be described, and the value encoded, again.
        """
        altered = statement.outdated and index not in self._errors  # the encoder has seen to that
        if fresh and not altered:
            return False
        self._errors[index] = (() if altered else statement.description, error)
        return True

    def settle(self, index: int, statement: Statement) -> None:
        """Raise the earlier error again, if nothing has changed: values are not encoded twice."""
        known, error = self._errors.get(index, (None, None))
        if error is not None and known == statement.description:
            raise error
