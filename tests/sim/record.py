"""What the clients asked for and what they were told: the one account that the checks work on.

A query is known by its key, which is in its parameters and comes back in its rows: an id of the ledger
(int) for what writes, a tag (str) for what reads.  So the bytes, the database and the caller can be asked
about the same query without help from the library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgproto import Error, Outcome

if TYPE_CHECKING:
    from .world import World

__all__ = ["Asked", "Record"]


class Asked:
    """One query.

    Attributes:
        key: an id or a tag.
        label: what the caller was told became of it: an Outcome, "done" for a return without an error, None
            if he was told nothing (cancelled), or was not asked to know.
        error: what the call raised.
        item: the batch item, if it was one: it must have a label of its own.
        copy: it is a COPY or an executemany; parts: the ids that it carried.
    """

    __slots__ = ("copy", "error", "item", "key", "label", "logical", "parts", "settled")

    def __init__(self, key: int | str) -> None:
        self.key = key
        self.label: Outcome | str | None = None
        self.error: BaseException | None = None
        self.item: Any = None
        self.logical = 0
        self.copy = False
        self.parts: list[int] = []
        self.settled = 0


class Record:
    """All queries of a schedule."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: dict[int | str, Asked] = {}
        self.amounts: dict[int, int] = {}
        """What was passed to be stored in the table `amounts`, by id."""
        self.succeeded = 0
        self.lied = False
        self._next = 0

    def new_id(self) -> int:
        """An id for the ledger."""
        self._next += 1
        return self._next

    def new_tag(self) -> str:
        """A tag for rows."""
        self._next += 1
        return f"t{self._next}"

    def ask(self, key: int | str) -> Asked:
        """A query is about to be made."""
        asked = self.asked[key] = Asked(key)
        return asked

    def done(self, asked: Asked) -> None:
        """It returned."""
        asked.settled += 1
        asked.label = "done"
        self.succeeded += 1

    def failed(self, asked: Asked, error: BaseException) -> None:
        """It raised."""
        asked.settled += 1
        asked.error = error
        for each in (error, *getattr(error, "also", ())):
            if "in the middle of a step" in str(
                each
            ):  # contained, and a mistake of the library's all the same
                self.world.violation(f"{asked.key}: {each!r} from {each.__cause__!r}", "error")
        if isinstance(error, Error):
            asked.label = error.outcome  # that there is one is checked with the other labels

    def rows(self, tag: str, rows: list[Any], count: int) -> None:
        """The rows of a query must be its own, all of them."""
        found = [(row[0], row[1]) for row in rows]
        if self.lied:
            # A fault has made answers up; rows of another query are wrong still.
            if any(mark not in (tag, "t0") for mark, _ in found):
                self.world.violation(f"{tag} got the rows of another query: {found[:5]}", "rows")
            return
        if found != [(tag, n) for n in range(1, count + 1)]:
            self.world.violation(f"{tag} asked for {count} rows of its own and got {found[:5]}", "rows")
