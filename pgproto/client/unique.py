"""Objects that cannot be copied or pickled.

A copy of a connection would be a second owner of one session, and would close it when it is dropped.
"""

from __future__ import annotations

from typing import NoReturn, SupportsIndex

__all__ = ["Unique"]


class Unique:
    """Base of connections, pools, and the objects that they return: each has, or is part of, a session."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Called to copy or pickle the object.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"a {type(self).__name__.lstrip('_')} cannot be copied or pickled: there is only one of it"
        )
