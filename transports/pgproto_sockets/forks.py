"""Sessions after a fork: they belong to the parent, and a child must not use them.

Two processes that write to one session garble it, and a child's Terminate would end the parent's session.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import Final, Protocol

__all__ = ["Inheritable", "forget_in_child", "let_go"]


class Inheritable(Protocol):
    """An object with a socket that a forked child must not use."""

    def forget(self) -> None:
        """In the child: let go of the socket without sending anything."""


_inherited: Final[weakref.WeakSet[Inheritable]] = weakref.WeakSet()


def forget_in_child(holder: Inheritable) -> None:
    """Have `holder.forget()` called in every child that this process forks."""
    _inherited.add(holder)


def let_go(descriptor: int) -> None:
    """In a forked child: close a socket, and open something harmless under the same descriptor.

    That descriptor may be closed later, or removed from a selector that is shared with the parent.  Neither
    may hit the parent's socket, or another file of the child.
    """
    with contextlib.suppress(OSError):
        nothing = os.open(os.devnull, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        try:
            if descriptor >= 0:
                os.dup2(nothing, descriptor, inheritable=False)
        finally:
            os.close(nothing)


def _forget_all() -> None:
    for holder in list(_inherited):
        holder.forget()
    _inherited.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
