"""What the caller's callbacks raise where nobody's call is for them: it is logged.

Interrupts and cancellations go up, as they do in trio's own tasks.
"""

from __future__ import annotations

import logging

import trio

__all__ = ["goes_up", "tell"]

_log = logging.getLogger("pgproto_trio")


def goes_up(error: BaseException) -> bool:
    """True if nobody should keep the exception, or the group of them."""
    if isinstance(error, BaseExceptionGroup):
        return any(goes_up(each) for each in error.exceptions)
    return isinstance(error, trio.Cancelled | KeyboardInterrupt | SystemExit)


def tell(name: str, error: BaseException) -> None:
    """Say that a callback or a hook, by its name, has raised."""
    _log.error("%s raised", name, exc_info=error)
