"""What there is only once: no copy and no pickle of it.

A copy of a connection would be a second owner of one session, and close it when it is dropped.
"""

from __future__ import annotations

from typing import NoReturn, SupportsIndex

__all__ = ["Unique"]


class Unique:
    """Base of what stands for a session, or for a part of one: connections, pools, and what they hand out."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Whatever copies or pickles an object asks this.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"a {type(self).__name__.lstrip('_')} cannot be copied or pickled: there is only one of it"
        )
