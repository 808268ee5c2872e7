"""When the engine has to look at its clock next."""

from __future__ import annotations

__all__ = ["Alarm"]


class Alarm:
    """A time before which nothing is due.

    A deadline that is gone, or moved back, is not taken out: then the engine looks once in vain, and sets
    anew what it finds.

    Attributes:
        at: that time, in seconds of the engine's clock; None for never.
    """

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at: float | None = None

    def set(self, due: float | None) -> None:
        """Something is due at that time; None if it never is."""
        if due is not None and (self.at is None or due < self.at):
            self.at = due

    def clear(self) -> None:
        """Nothing is due, or all that is will be set anew."""
        self.at = None
