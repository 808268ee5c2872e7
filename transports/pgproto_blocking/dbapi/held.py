"""Cursors whose rows stay on the server, without a transaction: WITH HOLD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pgproto.session import QueuedQuery

from .server import ForwardCursor

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["HeldCursor", "held_name"]

# So many rows come at once; and for one that is wanted as well, so that few texts of FETCH are in the cache.
_ROWS: Final = 500


def held_name(number: int) -> str:
    """The name of a cursor on the server."""
    return f"pgproto_hold_{number}"


class HeldCursor(ForwardCursor):
    """A named cursor of a connection with autocommit: the server keeps its rows until it is closed.

    Args:
        connection: the connection.
        name: its name, for the program alone.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        super().__init__(connection, name)
        self._number: int | None = None
        self._over = True

    def run(self, sql: str, values: Sequence[Any]) -> None:
        """Declare the cursor, and fetch the first rows."""
        self._number = number = self.connection.hold(sql, values)
        self._over = False
        item = self._fetch(number)
        self.show(item.description, item.rows, "")

    def _fetch(self, number: int) -> QueuedQuery[Any]:
        item = self.connection.run(f"FETCH FORWARD {_ROWS} FROM {held_name(number)}", ())
        self._over = len(item.rows) < _ROWS
        return item

    def more(self, wanted: int) -> int:
        """Fetch: one round trip."""
        if self._over or self._number is None:
            return 0
        return self.take(self._fetch(self._number).rows)

    def skip(self, count: int) -> int:
        """Skip rows on the server."""
        if self._over or self._number is None:
            return 0
        text = f"MOVE FORWARD {count} FROM {held_name(self._number)}"
        moved = int(self.connection.run_script(text)[0].tag.rpartition(" ")[2])
        self._over = moved < count
        return moved

    def clear(self) -> None:
        """Forget the rows: the cursor is closed before the next statement."""
        super().clear()
        number, self._number = getattr(self, "_number", None), None
        self._over = True
        if number is not None:
            self.connection.let_go(number)

    def __del__(self) -> None:
        if hasattr(self, "connection"):
            self.clear()
