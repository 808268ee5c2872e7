"""A table of one test's own."""

from __future__ import annotations

from tests.support.postgres import PostgresServer

__all__ = ["Owned"]


class Owned:
    """A table of this test's own, and the server that it is in."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.dsn = server.dsn()
        self.server = server
        self.name = name

    def insert(self, n: int) -> str:
        """A statement that stores a number."""
        return f"insert into {self.name} values ({n})"

    @property
    def stored(self) -> list[int]:
        """What is committed."""
        return [int(row[0]) for row in self.server.query(f"select n from {self.name} order by n")]
