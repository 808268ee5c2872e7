"""How late the machine wakes a thread: no call can be more punctual than that.

The bars are about the library.  On a machine that is busy with something else a thread that asks to be woken
in a moment is woken much later, and so is every other; the worst such delay is granted on top of each bar.
"""

from __future__ import annotations

import threading
import time

__all__ = ["Lag"]

_MOMENT = 0.02


class Lag:
    """Measures it in a thread of its own; a context manager.

    Attributes:
        worst: the longest delay, in seconds.
    """

    def __init__(self) -> None:
        self.worst = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lag", daemon=True)

    def _run(self) -> None:
        before = time.monotonic()
        while not self._stop.wait(_MOMENT):
            now = time.monotonic()
            self.worst = max(self.worst, now - before - _MOMENT)
            before = now

    def __enter__(self) -> Lag:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(20)
