"""COPY: the data of the command in turn.  libpq: PQputCopyData, PQputCopyEnd, PQgetCopyData."""

from __future__ import annotations

from typing import Final

from psycopg import errors as e
from psycopg.pq.abc import Buffer

from pgproto.protocol import NEED_DATA, Closed
from pgproto.wire import CopyData, CopyDone, CopyFail

from .exchange import BUSY, COPY_BOTH, COPY_IN, COPY_OUT
from .sending import Sending, text
from .transport import Lost, Transport

__all__ = ["Copying"]

# Data are collected up to this size before they are sent.
_ENOUGH: Final = 32768
# More than this is not queued in non-blocking mode: the caller waits until the socket takes it.
_FULL: Final = 1 << 20


class Copying(Sending):
    """Data of a COPY in either direction."""

    def put_copy_data(self, buffer: Buffer) -> int:
        """Send data of a COPY IN.

        Args:
            buffer: a part of the data, cut anywhere.

        Returns:
            1; or 0 if so much is queued that the caller must wait and call again (non-blocking only).

        Raises:
            OperationalError: there is no COPY IN.
        """
        transport = self._copying_in("sending copy data")
        self._parse()  # notices
        if self._nonblocking and transport is not None and transport.pending > _FULL:
            transport.flush()
            if transport.pending > _FULL:
                return 0
        data = buffer if isinstance(buffer, bytes) else bytes(buffer)
        if data:
            self._write(CopyData(data))
            if transport is not None and transport.pending > _ENOUGH:
                self._push()
        return 1

    def put_copy_end(self, error: bytes | None = None) -> int:
        """End the data of a COPY IN.

        Args:
            error: a reason to have the server fail the COPY; None for the regular end.

        Returns:
            1.

        Raises:
            OperationalError: there is no COPY IN.
        """
        self._copying_in("sending copy end")
        self._end_copy_in(CopyDone() if error is None else CopyFail(text(error)))
        return 1

    def _copying_in(self, what: str) -> Transport | None:
        if self._finished:
            raise e.OperationalError(f"{what} failed: connection pointer is NULL")
        if self._state not in (COPY_IN, COPY_BOTH):
            self._fail("no COPY in progress")
            raise e.OperationalError(f"{what} failed: {self.get_error_message()}")
        return self._transport

    def get_copy_data(self, async_: int) -> tuple[int, memoryview]:
        """The next piece of data of a COPY OUT, as the server has cut them.

        Args:
            async_: 0 to wait for it.

        Returns:
            Its size and the data; 0 if there is none yet, -1 at the end.

        Raises:
            OperationalError: there is no COPY OUT, or the connection is gone.
        """
        if self._finished:
            raise e.OperationalError("receiving copy data failed: connection pointer is NULL")
        if self._state not in (COPY_OUT, COPY_BOTH):
            self._fail("no COPY in progress")
            raise e.OperationalError(f"receiving copy data failed: {self.get_error_message()}")
        while True:
            size, data = self._next_copy_data()
            if size or async_:
                return size, data
            try:
                if self._transport is None:
                    raise Lost
                self._transport.exchange()
            except Lost as lost:
                self._lose(str(lost))
                raise e.OperationalError(f"receiving copy data failed: {self.get_error_message()}") from None

    def _next_copy_data(self) -> tuple[int, memoryview]:
        transport = self._transport
        while transport is not None:
            event, self._held = self._held or transport.core.next_event(), None
            if event is NEED_DATA:
                return _NOTHING
            if isinstance(event, CopyData):
                if event.data:
                    return len(event.data), memoryview(event.data)
            elif not self._unasked(event):
                if not isinstance(event, CopyDone):
                    self._held = event  # the error that ended it, for `get_result`
                    if isinstance(event, Closed):
                        return _NOTHING
                self._state = BUSY
                return _END
        return _NOTHING


_NOTHING: Final = (0, memoryview(b""))
_END: Final = (-1, memoryview(b""))
