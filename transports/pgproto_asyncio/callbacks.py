"""What the caller's callbacks raise where nobody's call is for them: it is told to the event loop.

The rule is the event loop's own for its callbacks: KeyboardInterrupt and SystemExit go up, everything else is
given to the exception handler.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

__all__ = ["INTERRUPTS", "goes_up", "seen", "tell"]

INTERRUPTS: Final = (KeyboardInterrupt, SystemExit)
"""What is for the program, and for nobody in it."""


def goes_up(error: BaseException) -> bool:
    """True if a task should not keep the exception: it is an interrupt, or the task itself is cancelled.

    A CancelledError that comes out of a hook can as well be of a task that the hook waited for.
    """
    if not isinstance(error, asyncio.CancelledError):
        return isinstance(error, INTERRUPTS)
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def seen(task: asyncio.Future[Any]) -> None:
    """What a task has raised is seen, even if nobody waits for it any more."""
    if not task.cancelled():
        task.exception()


def tell(loop: asyncio.AbstractEventLoop | None, name: str, error: BaseException) -> None:
    """Tell an open loop's exception handler that a callback or a hook, by its name, has raised."""
    if loop is not None and not loop.is_closed():
        loop.call_exception_handler({"message": f"{name} raised", "exception": error})
