"""Array: a list that knows its subscripts in SQL.  It is not compiled: no compiled class can be a list."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, SupportsIndex, TypeVar

__all__ = ["Array"]

T = TypeVar("T")


class Array(list[T]):
    """An array whose subscripts do not start at 1 in SQL, as of `'[0:2]={a,b,c}'::text[]`.

    It is a list, and equal to every list with the same elements; in Python its subscripts start at 0.
    Sent to the server, it keeps its lower bounds.  All other arrays arrive as plain lists.

    Args:
        items: the elements; lists, if there are several dimensions.
        lower_bounds: the first subscript of each dimension.

    Attributes:
        lower_bounds: as given.
    """

    __slots__ = ("lower_bounds",)

    def __init__(self, items: Iterable[T], lower_bounds: Iterable[int]) -> None:
        super().__init__(items)
        self.lower_bounds: tuple[int, ...] = tuple([operator.index(bound) for bound in lower_bounds])

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        """As for protocol 2: the older ones know no slots."""
        return super().__reduce_ex__(max(operator.index(protocol), 2))

    def __repr__(self) -> str:
        return f"Array({super().__repr__()}, lower_bounds={self.lower_bounds})"
