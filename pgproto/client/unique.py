"""Objects that cannot be copied or pickled, and that know the names of other drivers.

A copy of a connection would be a second owner of one session, and would close it when it is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn, SupportsIndex

from .habits import WAYS, Habit, without_habits

__all__ = ["Unique"]


class Unique:
    """Base of connections, pools, and the objects that they return: each has, or is part of, a session."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, way in WAYS.get(cls.__name__, {}).items():
            if not hasattr(cls, name):
                setattr(cls, name, Habit(name, way))

    def __dir__(self) -> Iterable[str]:
        return without_habits(type(self), list(super().__dir__()))

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Called to copy or pickle the object.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"a {type(self).__name__.lstrip('_')} cannot be copied or pickled: there is only one of it"
        )
