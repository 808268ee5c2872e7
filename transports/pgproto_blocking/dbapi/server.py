"""Cursors whose rows stay on the server until they are fetched: portals, in a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from .cursor import Cursor

if TYPE_CHECKING:
    from .connection import Connection, Portal

__all__ = ["ForwardCursor", "ServerCursor"]


class ForwardCursor(Cursor):
    """A named cursor, of either kind.

    Args:
        connection: the connection.
        name: its name, for the program alone.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        super().__init__(connection)
        self.name = name

    def skip(self, count: int) -> int:
        """Skip rows on the server; how many."""
        raise NotImplementedError

    def scroll(self, value: int, mode: Literal["relative", "absolute"] = "relative") -> None:
        """Skip rows, which stay on the server.

        Raises:
            NotSupportedError: it goes forward only.
            IndexError: there are not so many rows.
        """
        self._check_result()
        if mode != "relative" or value < 0:
            raise self.connection.NotSupportedError("a cursor on the server goes forward only")
        at_hand = min(value, len(self._rows) - self._next)
        self._next += at_hand
        if value > at_hand:
            at_hand += self.skip(value - at_hand)
        if at_hand < value:
            raise IndexError("there are not so many rows")

    @property
    def rownumber(self) -> int | None:
        """None: it does not count."""
        return None


class ServerCursor(ForwardCursor):
    """A named cursor.  It ends with its transaction; other statements can run while it is open.

    Args:
        connection: the connection.
        name: its name, for the program alone.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        super().__init__(connection, name)
        self._portal: Portal | None = None

    def run(self, sql: str, values: Sequence[Any]) -> None:
        """Begin with the statement, and fetch the first rows, so that its errors come here."""
        self._portal, rows = self.connection.portal(sql, values)
        self.show(self._portal.description, rows, "")

    def more(self, wanted: int) -> int:
        """Fetch: one round trip."""
        portal = self._portal
        if portal is None:
            return 0
        rows = self.connection.alone(lambda: portal.piece() if wanted < 1 else portal.fetch(wanted))
        return self.take(rows)

    def skip(self, count: int) -> int:
        """Skip rows on the server."""
        portal = self._portal
        return 0 if portal is None else self.connection.alone(lambda: portal.forward(count))

    def clear(self) -> None:
        """Forget the rows: the server drops the portal with the next statement."""
        super().clear()
        portal, self._portal = getattr(self, "_portal", None), None
        if portal is not None:
            portal.drop()
