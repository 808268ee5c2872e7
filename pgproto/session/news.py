"""What an adapter has to do: the flags that `Engine.take_news` returns, added up."""

from __future__ import annotations

from typing import Final

__all__ = ["CHANGE", "HOLD", "OUTPUT", "READY", "TIME"]

OUTPUT: Final = 1  # there are bytes for the transport: data_to_send
READY: Final = 2  # operations have ended or made progress: take_ready
CHANGE: Final = 4  # notices, notifications, a wish to cancel, or the end: take_..., finished
HOLD: Final = 8  # do not read: a consumer has to catch up
TIME: Final = 16  # there is a deadline: next_deadline
