"""What a forked child must not use: every session is its parent's.

Two processes that write to one session garble it, and a child that says good-bye ends its parent's.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import Final, Protocol

__all__ = ["Inheritable", "forget_in_child", "let_go"]


class Inheritable(Protocol):
    """What holds a socket that a forked child must not use."""

    def forget(self) -> None:
        """In the child: let go of the socket without sending anything."""


_inherited: Final[weakref.WeakSet[Inheritable]] = weakref.WeakSet()


def forget_in_child(holder: Inheritable) -> None:
    """Have `holder.forget()` called in every child that this process forks."""
    _inherited.add(holder)


def let_go(descriptor: int) -> None:
    """In a forked child: drop a socket, and leave something harmless under its number.

    Somebody may close that number later, or ask a selector that is shared with the parent to forget it.
    Neither may hit the parent's socket, or another file of the child's.
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
