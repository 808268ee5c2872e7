"""Cursors whose rows stay on the server, without a transaction: WITH HOLD."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pgproto.session import QueuedQuery

from .cursor import Cursor
from .errors import Error

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["HeldCursor"]

# So many rows come at once; and for one that is wanted as well, so that few texts of FETCH are in the cache.
_ROWS: Final = 500


def _name(number: int) -> str:
    return f"pgproto_hold_{number}"


class HeldCursor(Cursor):
    """A named cursor of a connection with autocommit: the server keeps its rows until it is closed.

    Args:
        connection: the connection.
        name: its name, for the program alone.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        super().__init__(connection)
        self.name = name
        self._number: int | None = None
        self._over = True

    def run(self, sql: str, values: Sequence[Any]) -> None:
        """Declare the cursor, and fetch the first rows."""
        number = self.connection.hold()
        try:
            self.connection.run(f"DECLARE {_name(number)} NO SCROLL CURSOR WITH HOLD FOR {sql}", values)
        except BaseException:
            self.connection.let_go(number)
            raise
        self._number = number
        self._over = False
        item = self._fetch(number)
        self.show(item.description, item.rows, "")

    def _fetch(self, number: int) -> QueuedQuery[Any]:
        item = self.connection.run(f"FETCH FORWARD {_ROWS} FROM {_name(number)}", ())
        self._over = len(item.rows) < _ROWS
        return item

    def more(self, wanted: int) -> int:
        """Fetch: one round trip."""
        if self._over or self._number is None:
            return 0
        return self.take(self._fetch(self._number).rows)

    def clear(self) -> None:
        """Forget the rows, and close the cursor on the server."""
        super().clear()
        number, self._number = getattr(self, "_number", None), None
        self._over = True
        if number is not None:
            self.connection.let_go(number)
            if not self.connection.closed:
                with contextlib.suppress(Error):
                    self.connection.run_script(f"CLOSE {_name(number)}", begin=False)
