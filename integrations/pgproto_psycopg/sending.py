"""Sending commands, and the blocking functions that also wait for the result.

libpq: PQsendQuery and its kin, PQexec and its kin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from psycopg import errors as e
from psycopg.pq import ConnStatus, ExecStatus, Format, PipelineStatus
from psycopg.pq.abc import Buffer

from pgproto.wire import Bind, Close, CopyFail, Describe, Execute, Message, Parse, Query, Sync

from .exchange import (
    BUSY,
    CLOSE,
    COPY_BOTH,
    COPY_IN,
    COPY_OUT,
    COPYING,
    DESCRIBE,
    EXTENDED,
    IDLE,
    PREPARE,
    SIMPLE,
    Exchange,
)
from .results import PGresult

__all__ = ["Sending"]

_MAX_PARAMETERS: Final = 65535


_Send: TypeAlias = Callable[[], None]


class Refused(Exception):
    """A command cannot be sent now; the error's text says why."""


def text(value: object) -> bytes:
    """Take a C string: up to its first NUL.

    Raises:
        TypeError: it is not bytes.
    """
    if not isinstance(value, bytes):
        raise TypeError(f"expected bytes, {type(value).__name__} found")
    return value.partition(b"\0")[0] if b"\0" in value else value


class Sending(Exchange):
    """Commands by the simple and the extended protocol."""

    # --- without waiting

    def send_query(self, command: bytes) -> None:
        """Send one or more statements by the simple protocol; libpq: PQsendQuery."""
        sql = text(command)
        self._ensure()
        self._send("sending query", lambda: self._send_simple(sql))

    def send_query_params(
        self,
        command: bytes,
        param_values: Sequence[Buffer | None] | None,
        param_types: Sequence[int] | None = None,
        param_formats: Sequence[int] | None = None,
        result_format: int = Format.TEXT,
    ) -> None:
        """Send a statement and its parameters; libpq: PQsendQueryParams.

        Args:
            command: one statement.
            param_values: the values in their formats; None is NULL.
            param_types: the types' OIDs; 0 leaves the choice to the server.
            param_formats: 0 text, 1 binary.
            result_format: of all columns.

        Raises:
            ValueError: the sequences differ in length.
            OperationalError: it cannot be sent now.
        """
        sql = text(command)
        bind = _bind(b"", param_values, param_formats, result_format, param_types)
        self._ensure()
        self._send("sending query and params", lambda: self._send_params(sql, bind, param_types))

    def send_prepare(self, name: bytes, command: bytes, param_types: Sequence[int] | None = None) -> None:
        """Send a statement to be prepared; libpq: PQsendPrepare."""
        parse = Parse(text(name), text(command), list(param_types or ()))
        self._ensure()
        self._send("sending query and params", lambda: self._send_extended(PREPARE, parse, sql=text(command)))

    def send_query_prepared(
        self,
        name: bytes,
        param_values: Sequence[Buffer | None] | None,
        param_formats: Sequence[int] | None = None,
        result_format: int = Format.TEXT,
    ) -> None:
        """Send the parameters of a prepared statement; libpq: PQsendQueryPrepared."""
        bind = _bind(text(name), param_values, param_formats, result_format)
        self._ensure()
        self._send("sending prepared query", lambda: self._send_bound(bind))

    def send_describe_prepared(self, name: bytes) -> None:
        """Ask for the parameters and columns of a statement; libpq: PQsendDescribePrepared."""
        message = Describe("S", text(name))
        self._ensure()
        self._send("sending describe prepared", lambda: self._send_extended(DESCRIBE, message))

    def send_describe_portal(self, name: bytes) -> None:
        """Ask for the columns of a portal; libpq: PQsendDescribePortal."""
        message = Describe("P", text(name))
        self._ensure()
        self._send("sending describe prepared", lambda: self._send_extended(DESCRIBE, message))

    def send_close_prepared(self, name: bytes) -> None:
        """Close a statement; libpq: PQsendClosePrepared."""
        message = Close("S", text(name))
        self._ensure()
        self._send("sending close prepared", lambda: self._send_extended(CLOSE, message))

    def send_close_portal(self, name: bytes) -> None:
        """Close a portal; libpq: PQsendClosePortal."""
        message = Close("P", text(name))
        self._ensure()
        self._send("sending close prepared", lambda: self._send_extended(CLOSE, message))

    def set_single_row_mode(self) -> None:
        """Have each row of the command that was just sent in a result of its own."""
        if not self._may_change_mode():
            raise e.OperationalError("setting single row mode failed")
        self._part = 1
        self._single = True

    def set_chunked_rows_mode(self, size: int) -> None:
        """Have the rows of the command that was just sent in results of this size."""
        if size <= 0 or not self._may_change_mode():
            raise e.OperationalError("setting chunked rows mode failed")
        self._part = size
        self._single = False

    def _may_change_mode(self) -> bool:
        kind = self._commands[0][0] if self._commands else CLOSE
        return self._state == BUSY and kind in (SIMPLE, EXTENDED) and self._result is None

    # --- waiting for the result

    def exec_(self, command: bytes) -> PGresult:
        """Run statements by the simple protocol; the last result.  libpq: PQexec."""
        sql = text(command)
        return self._exec("executing query", lambda: self._send_simple(sql))

    def exec_params(
        self,
        command: bytes,
        param_values: Sequence[Buffer | None] | None,
        param_types: Sequence[int] | None = None,
        param_formats: Sequence[int] | None = None,
        result_format: int = Format.TEXT,
    ) -> PGresult:
        """Run a statement with parameters; see `send_query_params`.  libpq: PQexecParams."""
        sql = text(command)
        bind = _bind(b"", param_values, param_formats, result_format, param_types)
        return self._exec("executing query", lambda: self._send_params(sql, bind, param_types))

    def prepare(self, name: bytes, command: bytes, param_types: Sequence[int] | None = None) -> PGresult:
        """Prepare a statement; libpq: PQprepare."""
        sql = text(command)
        parse = Parse(text(name), sql, list(param_types or ()))
        return self._exec("preparing query", lambda: self._send_extended(PREPARE, parse, sql=sql))

    def exec_prepared(
        self,
        name: bytes,
        param_values: Sequence[Buffer | None] | None,
        param_formats: Sequence[int] | None = None,
        result_format: int = 0,
    ) -> PGresult:
        """Run a prepared statement; libpq: PQexecPrepared."""
        bind = _bind(text(name), param_values, param_formats, result_format)
        return self._exec("executing prepared query", lambda: self._send_bound(bind))

    def describe_prepared(self, name: bytes) -> PGresult:
        """The parameters and columns of a statement; libpq: PQdescribePrepared."""
        message = Describe("S", text(name))
        return self._exec("describe prepared", lambda: self._send_extended(DESCRIBE, message))

    def describe_portal(self, name: bytes) -> PGresult:
        """The columns of a portal; libpq: PQdescribePortal."""
        message = Describe("P", text(name))
        return self._exec("describe prepared", lambda: self._send_extended(DESCRIBE, message))

    def close_prepared(self, name: bytes) -> PGresult:
        """Close a statement; libpq: PQclosePrepared."""
        message = Close("S", text(name))
        return self._exec("close prepared", lambda: self._send_extended(CLOSE, message))

    def close_portal(self, name: bytes) -> PGresult:
        """Close a portal; libpq: PQclosePortal."""
        message = Close("P", text(name))
        return self._exec("close prepared", lambda: self._send_extended(CLOSE, message))

    # --- inside

    def _send(self, what: str, send: _Send) -> None:
        try:
            self._begin()
            send()
        except Refused:
            raise e.OperationalError(f"{what} failed: {self.get_error_message()}") from None

    def _exec(self, what: str, send: _Send) -> PGresult:
        """Throw away what is left of the command before, send, and return the last result."""
        self._ensure()
        try:
            self._clear_way()
            self._begin()
            send()
        except Refused:
            raise e.OperationalError(f"{what} failed: {self.get_error_message()}") from None
        last: PGresult | None = None
        while (result := self.get_result()) is not None:
            last = result
            if self._state in COPYING or self._status == ConnStatus.BAD:
                break
        if last is None:
            raise e.OperationalError(f"{what} failed: {self.get_error_message()}")
        return last

    def _refuse(self, why: str) -> Refused:
        self._fail(why)
        return Refused(why)

    def _clear_way(self) -> None:
        """libpq: PQexecStart."""
        self._clear_old_error()
        if self._pipeline != PipelineStatus.OFF:
            raise self._refuse("synchronous command execution functions are not allowed in pipeline mode")
        while (result := self.get_result()) is not None:
            if result.status == ExecStatus.COPY_IN:
                self._end_copy_in(CopyFail(b"COPY terminated by new PQexec"))
            elif result.status == ExecStatus.COPY_OUT:
                self._state = BUSY
            elif result.status == ExecStatus.COPY_BOTH:
                raise self._refuse("PQexec not allowed during COPY BOTH")
            if self._status == ConnStatus.BAD:
                break

    def _begin(self) -> None:
        """libpq: PQsendQueryStart."""
        self._clear_old_error()
        if self._status != ConnStatus.OK:
            raise self._refuse("no connection to the server")
        if self._state != IDLE and self._pipeline == PipelineStatus.OFF:
            raise self._refuse("another command is already in progress")
        if self._pipeline == PipelineStatus.OFF:
            self._forget_result()
            self._part = 0
        elif self._state in (COPY_IN, COPY_OUT, COPY_BOTH):
            raise self._refuse("cannot queue commands during COPY")

    def _send_simple(self, sql: bytes) -> None:
        if self._pipeline != PipelineStatus.OFF:
            raise self._refuse("PQsendQuery not allowed in pipeline mode")
        self._write(Query(sql))
        self._push()
        self._queue(SIMPLE, sql)

    def _send_params(self, sql: bytes, bind: Bind, types: Sequence[int] | None) -> None:
        self._check_count(bind)
        self._send_extended(EXTENDED, Parse(b"", sql, list(types or ())), bind, _DESCRIBE, _EXECUTE, sql=sql)

    def _send_bound(self, bind: Bind) -> None:
        self._check_count(bind)
        self._send_extended(EXTENDED, bind, _DESCRIBE, _EXECUTE)

    def _check_count(self, bind: Bind) -> None:
        if len(bind.parameters) > _MAX_PARAMETERS:
            raise self._refuse(f"number of parameters must be between 0 and {_MAX_PARAMETERS}")

    def _send_extended(self, kind: int, *messages: Message, sql: bytes | None = None) -> None:
        self._write(*messages)
        if self._pipeline == PipelineStatus.OFF:
            self._write(_SYNC)
        self._push()
        self._queue(kind, sql)

    def _write(self, *messages: Message) -> None:
        if self._transport is not None:
            self._transport.write(*messages)

    def _end_copy_in(self, last: Message) -> None:
        """Send the end of the data of a COPY IN, and the Sync that the extended protocol needs."""
        self._write(last)
        if self._commands and self._commands[0][0] != SIMPLE:
            self._write(_SYNC)
        self._state = COPY_OUT if self._state == COPY_BOTH else BUSY
        self._push()


def _bind(
    statement: bytes,
    values: Sequence[Buffer | None] | None,
    formats: Sequence[int] | None,
    result_format: int,
    types: Sequence[int] | None = None,
) -> Bind:
    """The Bind of a statement: values in text format end at a NUL, as C strings do.

    Raises:
        ValueError: the sequences differ in length.
    """
    values = values or ()
    for what, given in (("param_types", types), ("param_formats", formats)):
        if given and len(given) != len(values):
            raise ValueError(f"got {len(values)} param_values but {len(given)} {what}")
    taken: list[bytes | None] = []
    for index, value in enumerate(values):
        if value is not None:
            if not isinstance(value, bytes):
                value = bytes(value)
            if b"\0" in value and not (formats and formats[index]):
                value = value.partition(b"\0")[0]
        taken.append(value)
    return Bind(b"", statement, [int(each) for each in formats or ()], taken, [int(result_format)])


_DESCRIBE: Final = Describe("P", "")
_EXECUTE: Final = Execute()
_SYNC: Final = Sync()
