"""Pipeline mode: several commands on their way.  libpq: PQenterPipelineMode and its kin."""

from __future__ import annotations

from psycopg import errors as e
from psycopg.pq import ConnStatus, PipelineStatus

from pgproto.wire import Flush, Sync

from .copying import Copying
from .exchange import BUSY, COPYING, IDLE, PIPELINE_IDLE, SYNC
from .transport import Lost

__all__ = ["Pipelining"]


class Pipelining(Copying):
    """Entering, leaving and marking a pipeline."""

    @property
    def pipeline_status(self) -> int:
        """One of `PipelineStatus`."""
        return PipelineStatus.OFF if self._finished else self._pipeline

    def enter_pipeline_mode(self) -> None:
        """Begin a pipeline.  Idempotent.

        Raises:
            OperationalError: something is owed.
        """
        if self._finished or (self._pipeline == PipelineStatus.OFF and self._state != IDLE):
            if not self._finished:
                self._fail("cannot enter pipeline mode, connection not idle")
            raise e.OperationalError("failed to enter pipeline mode")
        if self._pipeline == PipelineStatus.OFF:
            self._pipeline = PipelineStatus.ON

    def exit_pipeline_mode(self) -> None:
        """End the pipeline.  Idempotent.

        Raises:
            OperationalError: results are owed.
        """
        if self._finished:
            raise e.OperationalError(self.get_error_message())
        if self._state == BUSY:
            self._fail("cannot exit pipeline mode while busy")
            raise e.OperationalError(self.get_error_message())
        if self._state in COPYING:
            self._fail("cannot exit pipeline mode while in COPY")
        if self._state not in (IDLE, PIPELINE_IDLE) or self._commands:
            self._fail("cannot exit pipeline mode with uncollected results")
            raise e.OperationalError(self.get_error_message())
        if self._pipeline != PipelineStatus.OFF:
            self._pipeline = PipelineStatus.OFF
            self._state = IDLE
            self._push()

    def pipeline_sync(self) -> None:
        """End a segment of the pipeline.

        Raises:
            OperationalError: there is no pipeline.
        """
        transport = self._transport
        if self._pipeline == PipelineStatus.OFF or self._finished:
            if not self._finished:
                self._fail("cannot send pipeline when not in pipeline mode")
            raise e.OperationalError("connection not in pipeline mode")
        if self._state in COPYING or transport is None:
            raise e.OperationalError("connection not in pipeline mode")
        transport.write(Sync())
        try:
            self._flush()
        except Lost as lost:
            self._lose(str(lost))
        self._queue(SYNC)

    def send_flush_request(self) -> None:
        """Ask the server to send what it has.

        Raises:
            OperationalError: another command is in progress, or there is no connection.
        """
        if self._finished:
            pass
        elif self._status != ConnStatus.OK:
            self._fail("no connection to the server")
        elif self._state != IDLE and self._pipeline == PipelineStatus.OFF:
            self._fail("another command is already in progress")
        else:
            self._write(Flush())
            self._push()
            return
        raise e.OperationalError(f"flush request failed: {self.get_error_message()}")
