"""A PostgreSQL server that runs: what the suite and the fixtures know of it is a connection string."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote, urlencode

__all__ = ["Server", "make_dsn"]


def make_dsn(parameters: Mapping[str, str | int | None]) -> str:
    """A `postgresql://` URL.

    Args:
        parameters: the options by libpq's names; those that are None are left out.

    Returns:
        The URL; a host that is not a simple one is in its query.
    """
    known = {name: str(value) for name, value in parameters.items() if value is not None}

    def take(name: str, *, unless: str = "") -> str:
        """An option's value, if it has one and that may stand before the query."""
        fits = known.get(name) and not any(letter in known[name] for letter in unless)
        return known.pop(name) if fits else ""

    user, dbname = quote(take("user"), safe=""), quote(take("dbname"), safe="")
    password = f":{quote(secret, safe='')}" if (secret := take("password")) else ""
    at = "@" if user or password else ""
    host = take("host", unless="/@,:")  # a directory, a list, an IPv6 address
    port = f":{number}" if host and (number := take("port")) else ""
    query = f"?{urlencode(known, quote_via=quote, safe='/')}" if known else ""
    return f"postgresql://{user}{password}{at}{host}{port}/{dbname}{query}"


class Server:
    """A server that runs, by a connection string.

    Args:
        dsn: connects a user who may create databases and end sessions of his own.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def dsn(self, **overrides: str | int | None) -> str:
        """The connection string, as a URL.

        Args:
            overrides: options by libpq's names, to replace and to add; None leaves one out.
        """
        from pgproto.config import parse_dsn

        return make_dsn({**parse_dsn(self._dsn), **overrides})

    def query(self, sql: str, *, dbname: str | None = None, timeout: float = 60.0) -> list[list[str]]:
        """Run SQL on a connection of its own.

        Args:
            sql: one statement or several.
            dbname: the database, if not the connection string's.
            timeout: seconds.

        Returns:
            The rows of all its statements as text; NULL is "".

        Raises:
            pgproto.Error: it fails.
        """
        import pgproto_blocking

        dsn = self.dsn() if dbname is None else self.dsn(dbname=dbname)
        with pgproto_blocking.connect(dsn) as conn:
            results = conn.script(sql, timeout=timeout)
        return [[value or "" for value in row] for result in results for row in result.rows]

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """A fresh database, dropped at the end, with whoever is still connected to it.

        Args:
            template: the database that it is a copy of; nobody may be connected to that one.

        Yields:
            Its name, which nobody else uses.
        """
        name = f"pgproto_{secrets.token_hex(8)}"
        self.query(f'create database {name} template "{template}"')
        try:
            yield name
        finally:
            self.query(f"drop database {name} with (force)")
