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
        The URL.  A directory (of a unix socket) and a list of hosts are in its query.
    """
    known = {name: str(value) for name, value in parameters.items() if value is not None}
    user, dbname = known.pop("user", ""), known.pop("dbname", "")
    password = ":" + quote(known.pop("password"), safe="") if "password" in known else ""
    userinfo = f"{quote(user, safe='')}{password}@" if user or password else ""
    in_query = known.get("host", "").startswith(("/", "@")) or "," in known.get("host", "")
    host = "" if in_query else known.pop("host", "")
    port = f":{known.pop('port')}" if host and "port" in known else ""
    query = f"?{urlencode(known, quote_via=quote, safe='/')}" if known else ""
    return f"postgresql://{userinfo}{host}{port}/{quote(dbname, safe='')}{query}"


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
