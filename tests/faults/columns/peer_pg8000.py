"""pg8000's native API.  Its "pool" is an application that connects again after an error, for it has none."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

from tests.faults.columns import Play
from tests.faults.columns.ours import copy_data

__all__ = ["Pg8000"]

native: Any = importlib.import_module("pg8000.native")


class Pg8000(Play):
    """pg8000.native.Connection."""

    package = "pg8000"
    DECLARED: tuple[type[BaseException], ...] = (native.Error, native.InterfaceError, native.DatabaseError)
    LACKS = {  # noqa: RUF012
        "timed_out": "no time limit for a query",
        "stream": "no stream of rows",
        "abandon": "no stream of rows",
        "twice": "no statement cache",
        "acquire": "no pool",
    }

    def __init__(self, *, best: bool) -> None:
        super().__init__(best=best)
        if best:
            self.DECLARED = (*self.DECLARED, TimeoutError)
        self.dsn = ""
        self.conn: Any = None

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """See `Play`: nothing here ever suspends."""
        try:
            work().send(None)
        except StopIteration:
            return
        raise AssertionError("a blocking driver awaited something")

    def _connect(self, dsn: str) -> Any:
        parts = urlsplit(dsn)
        return native.Connection(
            parts.username,
            host=parts.hostname,
            port=parts.port,
            database="db",
            password=parts.password,
            timeout=self.query if self.best else None,
            ssl_context="require" in dsn,
        )

    def open(self, dsn: str) -> Any:
        """Connect, and remember how."""
        self.dsn = dsn
        self.conn = self._connect(dsn)
        return _Done()

    def close(self) -> None:
        """Close the connection if there is one."""
        if self.conn is not None:
            conn, self.conn = self.conn, None
            conn.close()

    def connect(self, dsn: str) -> list[int]:
        """Connect."""
        self._connect(dsn).close()
        return []

    def _run(self, sql: str, **values: Any) -> list[Any]:
        """Run on the connection; after an error it is given up, and the next call makes another one."""
        if self.conn is None:
            self.conn = self._connect(self.dsn)
        try:
            return [row[0] for row in self.conn.run(sql, **values) or []]
        except BaseException:
            conn, self.conn = self.conn, None
            self.notices += [notice.get(b"C", b"").decode() for notice in conn.notices]
            try:
                conn.close()
            except Exception:
                pass
            raise

    def value(self, number: int) -> int:
        """A query whose answer is known."""
        value: int = self._run(f"select {number}")[0]
        return value

    def spoil(self) -> None:
        """Leave a trace in the session."""
        self._run("set matrix.trace to 1")

    def single(self) -> list[int]:
        """One query."""
        return self._run("select n from matrix")

    def batch(self) -> list[int]:
        """One hundred, one by one: there is no pipeline."""
        sql = "insert into matrix_batch values (:number) returning n"
        return [self._run(sql, number=number)[0] for number in range(100)]

    def big(self) -> list[int]:
        """One hundred with 64 KiB each way, one by one."""
        text = "x" * 65536
        rows = [self._run("insert into matrix_big values (:v) returning v", v=text)[0] for _ in range(100)]
        assert all(row == text for row in rows)
        return [len(rows)]

    def copy_in(self) -> list[int]:
        """8 MB of COPY data."""
        self._run("copy matrix from stdin", stream=copy_data())
        return [self.conn.row_count]

    def copy_out(self) -> list[int]:
        """Three lines of COPY data."""
        target = io.BytesIO()
        self._run("copy matrix to stdout", stream=target)
        return [int(line) for line in target.getvalue().split()]


class _Done:
    """Something to await that is done."""

    def __await__(self) -> Any:
        return iter(())
