"""Cancel requests: `PGcancel`, which waits, and `PGcancelConn`, which is polled."""

from __future__ import annotations

from psycopg import errors as e
from psycopg.pq import ConnStatus, PollingStatus
from psycopg.pq.misc import _clean_error_message

from pgproto.session import Connector, Engine
from pgproto.wire import BackendKeyData

from .connecting import Attempt

__all__ = ["Key", "PGcancel", "PGcancelConn"]


class Key:
    """What it takes to cancel the commands of a session: its address, encryption and secret.

    Args:
        connector: the session's.
        engine: the session's, which knows its address and encryption.
        secret: the key that the server has given.
    """

    def __init__(self, connector: Connector, engine: Engine, secret: BackendKeyData) -> None:
        self._connector = connector
        self._engine = engine
        self._secret = secret

    def attempt(self, timeout: float | None = None) -> Attempt:
        """A new cancel request, to be polled."""
        config = self._connector.config
        return Attempt(self._connector.cancel(self._engine, self._secret), config, timeout)

    @property
    def timeout(self) -> float | None:
        """The `connect_timeout`, in seconds."""
        return self._connector.config.connect_timeout


class PGcancel:
    """Cancels a session's command, also after the PGconn was finished.  psycopg: `psycopg.pq.PGcancel`."""

    __slots__ = ("_key",)

    def __init__(self, key: Key) -> None:
        self._key: Key | None = key

    @property
    def pgcancel_ptr(self) -> int | None:
        """None: there is no libpq, and no structure of it."""
        return None

    def free(self) -> None:
        """Forget the key.  Idempotent."""
        self._key = None

    def cancel(self) -> None:
        """Send a cancel request, and wait until the server has taken it.

        Raises:
            OperationalError: it cannot be sent, or `free` was called.
        """
        if self._key is None:
            raise e.OperationalError("cancel failed: PQcancel() -- no cancel object supplied")
        attempt = self._key.attempt(self._key.timeout)
        try:
            if not attempt.run():
                raise e.OperationalError(f"cancel failed: {attempt.explain()}".rstrip())
        finally:
            attempt.close()


class PGcancelConn:
    """A cancel request that is polled.  psycopg: `psycopg.pq.PGcancelConn`.

    Args:
        key: the session's; None if there is no session.
        error: why there is none.
    """

    __slots__ = ("__weakref__", "_attempt", "_error", "_finished", "_key", "_status")

    def __init__(self, key: Key | None, error: bytes = b"") -> None:
        self._key = key
        self._attempt: Attempt | None = None
        self._finished = False
        self._status: int = ConnStatus.ALLOCATED if key is not None else ConnStatus.BAD
        self._error = error

    def __del__(self) -> None:
        self.finish()

    @property
    def pgcancelconn_ptr(self) -> int | None:
        """None: there is no libpq, and no structure of it."""
        return None

    def start(self) -> None:
        """Begin to send the request; go on with `poll`.

        Raises:
            OperationalError: it was begun already, or cannot be.
        """
        self._begin("couldn't send cancellation")
        self.poll()
        if self._status == ConnStatus.BAD:
            raise e.OperationalError(f"couldn't send cancellation: {self.get_error_message()}")

    def blocking(self) -> None:
        """Send the request, and wait until the server has taken it.

        Raises:
            OperationalError: it was begun already, or cannot be sent.
        """
        attempt = self._begin("couldn't send cancellation")
        self._note(PollingStatus.OK if attempt.run() else PollingStatus.FAILED)
        if self._status != ConnStatus.OK:
            raise e.OperationalError(f"couldn't send cancellation: {self.get_error_message()}")

    def _begin(self, what: str) -> Attempt:
        if self._finished or self._key is None:
            raise e.OperationalError(f"{what}: {self.get_error_message()}")
        if self._status != ConnStatus.ALLOCATED:
            self._error += b"cancel request is already being sent on this connection\n"
            self._status = ConnStatus.BAD
            raise e.OperationalError(f"{what}: {self.get_error_message()}")
        self._status = ConnStatus.STARTED
        self._attempt = self._key.attempt(self._key.timeout)
        return self._attempt

    def poll(self) -> int:
        """Go on: one of `PollingStatus`.

        Raises:
            OperationalError: it is finished.
        """
        self._ensure()
        if self._attempt is None or self._status == ConnStatus.BAD:
            return PollingStatus.FAILED
        if self._status == ConnStatus.OK:
            return PollingStatus.OK
        return self._note(self._attempt.poll())

    def _note(self, status: PollingStatus) -> int:
        attempt = self._attempt
        assert attempt is not None
        if status == PollingStatus.OK:
            self._status = ConnStatus.OK
            attempt.close()
        elif status == PollingStatus.FAILED:
            self._status = ConnStatus.BAD
            self._error += attempt.explain().encode()
            attempt.close()
        elif attempt.connected:
            self._status = ConnStatus.MADE
        return status

    @property
    def status(self) -> int:
        """One of `ConnStatus`."""
        return ConnStatus.BAD if self._finished else self._status

    @property
    def socket(self) -> int:
        """The socket's file descriptor.

        Raises:
            OperationalError: there is none.
        """
        if self._finished or self._attempt is None or self._attempt.sock is None:
            raise e.OperationalError("cancel connection not opened")
        return self._attempt.sock.fileno()

    @property
    def error_message(self) -> bytes:
        """The error's text; b"" while all is well."""
        return b"connection pointer is NULL\n" if self._finished else self._error

    def get_error_message(self, encoding: str = "utf-8") -> str:
        """The error's text without its severity."""
        return _clean_error_message(self.error_message, encoding)

    def reset(self) -> None:
        """Make it usable for another request.

        Raises:
            OperationalError: it is finished.
        """
        self._ensure()
        self._close()
        if self._key is not None:
            self._status = ConnStatus.ALLOCATED
            self._error = b""

    def finish(self) -> None:
        """Give up.  Idempotent."""
        self._close()
        self._finished = True
        self._key = None

    def _close(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.close()

    def _ensure(self) -> None:
        if self._finished:
            raise e.OperationalError("the cancel connection is closed")
