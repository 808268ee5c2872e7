"""What the demo prints, and whether it was true.

Rule: a claim is printed together with the check of it, by one call.  A check that fails is printed as
such, the demo goes on, and its exit code says so at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["Report"]


class Report:
    """The demo's output and the verdict on it."""

    def __init__(self) -> None:
        self.checks = 0
        self.failures: list[str] = []

    def title(self, text: str) -> None:
        """Begin a chapter."""
        self.say(f"\n{text}\n{'-' * len(text)}")

    def say(self, text: str = "") -> None:
        """Print a line that claims nothing which could be wrong."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def check(self, truth: object, claim: str, found: object = "") -> None:
        """Print a claim, and hold it against the truth.

        Args:
            truth: whether it is so.
            claim: what is claimed.
            found: what was found instead, for the message if it is not so.
        """
        self.checks += 1
        if truth:
            self.say(f"  [ok] {claim}")
        else:
            text = f"{claim}  (found: {found})" if found != "" else claim
            self.failures.append(text)
            self.say(f"  [FAILED] {text}")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], *, right: int = 99) -> None:
        """Print a table; columns from `right` on are aligned to the right."""
        lines = [list(head), *map(list, rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        for line in lines:
            cells = [
                cell.rjust(width) if column >= right else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            self.say(("  " + "   ".join(cells)).rstrip())

    def verdict(self) -> int:
        """Print the sum, and return the exit code."""
        if not self.failures:
            self.say(f"\nAll {self.checks} claims were checked, and all are true.")
            return 0
        self.say(f"\n{len(self.failures)} of {self.checks} claims FAILED:")
        for failure in self.failures:
            self.say(f"  {failure}")
        return 1
