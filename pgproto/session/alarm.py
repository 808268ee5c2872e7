"""The next time at which the engine must look at its clock."""

from __future__ import annotations

__all__ = ["Alarm"]


class Alarm:
    """A time before which nothing is due.

    A deadline that is removed or postponed is not removed here: the engine then looks once in vain, and sets
    the alarm again.

    Attributes:
        at: that time, in seconds of the engine's clock; None for never.
    """

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at: float | None = None

    def set(self, due: float | None) -> None:
        """Something is due at this time; None for never."""
        if due is not None and (self.at is None or due < self.at):
            self.at = due

    def clear(self) -> None:
        """Nothing is due, or everything that is due will be set again."""
        self.at = None
