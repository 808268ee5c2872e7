"""Connecting without blocking: a flow of pgproto's (`Poller`), with a socket that never waits.

libpq: PQconnectPoll, PQcancelPoll, PQping.  An `Attempt` runs a session's start, or a cancel request.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import select
import socket
import time
from collections.abc import Generator
from typing import Final

from psycopg.pq import PollingStatus

from pgproto.config import Config, Host
from pgproto.errors import ConfigError, ConnectError, Error, PostgresError
from pgproto.session import DIAL, DONE, HANG_UP, WRITE, Engine, Poller, Step
from pgproto_sockets.options import configure_socket
from pgproto_sockets.peer import check_peer

from .reports import report

__all__ = ["Attempt", "wait"]

_READ_SIZE = 65536
_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EAGAIN, errno.EWOULDBLOCK})


def wait(
    sock: socket.socket, *, read: bool = False, write: bool = False, timeout: float | None = None
) -> bool:
    """Wait for a socket.

    Args:
        sock: the socket.
        read: until it can be read.
        write: until it can be written.
        timeout: in seconds; None for no limit.

    Returns:
        False if the time is over.
    """
    if not hasattr(select, "poll"):
        ready = select.select([sock] if read else [], [sock] if write else [], [sock], timeout)
        return any(ready)
    poll = select.poll()
    poll.register(sock, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
    return bool(poll.poll(None if timeout is None else max(0, timeout) * 1000))


class Attempt:
    """A flow on its way, and its socket.

    Args:
        flow: from a `Connector`.
        config: the options of the sockets.
        timeout: seconds for each host; None for no limit.

    Attributes:
        sock: the socket; None if there is none at the moment.
        host: the host of the last attempt, with the address that was connected to.
        engine: the session's engine, once it is ready.
        error: the reason, once it has failed.
        connected: a socket has been connected.
    """

    def __init__(
        self, flow: Generator[Step, None, Engine | None], config: Config, timeout: float | None = None
    ) -> None:
        self._poller = Poller(flow, clock=time.monotonic, timeout=timeout)
        self._config = config
        self._addresses: list[tuple[socket.AddressFamily, object]] | None = None
        self._failures: list[tuple[str, OSError]] = []
        self._wheres: dict[str, str] = {}  # the beginning of a message about each host
        self._texts: dict[int, str] = {}  # the messages about errors of the system, by the error's id
        self.sock: socket.socket | None = None
        self.host: Host | None = None
        self.engine: Engine | None = None
        self.error: Exception | None = None
        self.connected = False

    @property
    def password_asked(self) -> bool:
        """True if the server has asked for a password."""
        return self._poller.password_asked

    @property
    def password_missing(self) -> bool:
        """True if it has failed because the server has asked for a password, and there is none."""
        return self.password_asked and any(map(_is_missing_password, self._errors()))

    @property
    def last_sqlstate(self) -> str | None:
        """The last error's SQLSTATE, if it was the server's."""
        last = self._errors()[-1]
        return last.sqlstate if isinstance(last, PostgresError) else None

    @property
    def answered(self) -> bool:
        """True if it has failed although the server has answered."""
        refused = any(isinstance(each, PostgresError) or _is_unfit(each) for each in self._errors())
        return self.password_asked or refused

    def _errors(self) -> list[BaseException | None]:
        error = self.error
        return list(error.errors) if isinstance(error, ConnectError) and error.errors else [error]

    def poll(self) -> PollingStatus:
        """Do what can be done without waiting.

        Returns:
            OK or FAILED at the end; else what to wait for.
        """
        poller = self._poller
        while (wish := poller.poll()) != DONE:
            engine = poller.engine
            assert engine is not None
            if wish == DIAL:
                if not self._dial():
                    return PollingStatus.WRITING
            elif wish == HANG_UP:
                self._hang_up()
                poller.hung_up()
            elif wish == WRITE:
                if not self._write(engine):
                    return PollingStatus.WRITING
            elif not self._read(engine):
                return PollingStatus.READING
        if self.engine is not None:
            return PollingStatus.OK
        if self.error is not None:
            return PollingStatus.FAILED
        try:
            self.engine = poller.result()
        except (Error, OSError) as error:
            self.error = error
            self._hang_up()
            return PollingStatus.FAILED
        if self.engine is not None and self.host is not None:
            self.engine.host = self.host  # a cancel request goes to the same address
        return PollingStatus.OK

    def run(self) -> bool:
        """Poll to the end, waiting in between; True if it was successful."""
        while (status := self.poll()) not in (PollingStatus.OK, PollingStatus.FAILED):
            assert self.sock is not None
            deadline = self._poller.next_deadline()
            left = None if deadline is None else deadline - time.monotonic()
            reading = status == PollingStatus.READING
            wait(self.sock, read=reading, write=not reading, timeout=left)
        return status == PollingStatus.OK

    def take(self) -> socket.socket:
        """The connected socket, which is the caller's from now on."""
        sock, self.sock = self.sock, None
        assert sock is not None
        return sock

    def close(self) -> None:
        """Give up: end the flow and close the socket.  Idempotent."""
        self._poller.close()
        self._hang_up()

    def explain(self) -> str:
        """Why it has failed: a line or more for each host that was tried, as libpq says it."""
        return "".join(dict.fromkeys(map(self._explain, self._errors())))

    def _explain(self, error: BaseException | None) -> str:
        notes = getattr(error, "__notes__", ())
        name = notes[-1].removeprefix("while connecting to ") if notes else ""
        where = self._wheres.get(name, "connection failed: ")
        for each in (error, error.__cause__ if error is not None else None):
            if id(each) in self._texts:
                return self._texts[id(each)]
        if isinstance(error, PostgresError):
            return where + report(error.raw_fields).decode("utf-8", "replace")
        if _is_missing_password(error):
            return f"{where}fe_sendauth: no password supplied\n"
        if "in time" in str(error) or isinstance(error.__cause__ if error else None, TimeoutError):
            return f"{where}timeout expired\n"
        text = _UNFIT.get(str(error), str(error))
        if "closed the connection" in text:
            text = (
                "server closed the connection unexpectedly\n"
                "\tThis probably means the server terminated abnormally\n"
                "\tbefore or while processing the request."
            )
        return f"{where}{text}\n"

    # --- the transport

    def _dial(self) -> bool:
        """Open a socket to the first address of the host that answers; False while that is under way."""
        poller = self._poller
        host = poller.host
        assert host is not None
        if self._addresses is None:
            try:
                self._addresses = _look_up(host)
            except (OSError, UnicodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is no host name"
                self._texts[id(error)] = (
                    f'could not translate host name "{host.address}" to address: {reason}\n'
                )
                poller.dialled(error)
                return True
            self._failures = []
        while self.sock is None or wait(self.sock, write=True, timeout=0):
            if self.sock is None:
                if not self._addresses:
                    self._dialled_in_vain()
                    return True
                code = self._open(host, *self._addresses.pop(0))
                if code in _UNDER_WAY:
                    return False
            else:
                code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                self._opened(host)
                return True
            if code not in _UNDER_WAY:
                self._failures.append((self._wheres[str(host)], OSError(code, os.strerror(code))))
                self._close_socket()
        return False

    def _open(self, host: Host, family: socket.AddressFamily, address: object) -> int:
        """Begin to connect; returns the system's error."""
        ip = "" if host.is_unix or not isinstance(address, tuple) else str(address[0])
        self._wheres[str(host)] = _where(host, ip)
        self.host = host if host.is_unix else dataclasses.replace(host, hostaddr=ip)
        self.sock = sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        configure_socket(sock, self._config)
        return sock.connect_ex(address)  # type: ignore[arg-type]

    def _opened(self, host: Host) -> None:
        assert self.sock is not None
        self._addresses = None
        self.connected = True
        try:
            check_peer(self.sock, host, self._config)
        except Error as error:
            self._poller.dialled(error)
            return
        self._poller.dialled()

    def _dialled_in_vain(self) -> None:
        error = self._failures[-1][1]
        lines = [f"{where}{one.strerror}\n{_hint(where, one)}" for where, one in self._failures]
        self._texts[id(error)] = "".join(lines)
        self._failures = []
        self._addresses = None
        self._poller.dialled(error)

    def _write(self, engine: Engine) -> bool:
        assert self.sock is not None
        try:
            engine.data_sent(self.sock.send(engine.data_to_send()))
        except BlockingIOError:
            return False
        except OSError as error:
            engine.write_failed(error)
        return True

    def _read(self, engine: Engine) -> bool:
        assert self.sock is not None
        try:
            data = self.sock.recv(_READ_SIZE)
        except BlockingIOError:
            return False
        except OSError as error:
            engine.transport_failed(error)
            return True
        if data:
            engine.receive_data(data)
        else:
            engine.receive_eof()
        return True

    def _hang_up(self) -> None:
        self._addresses = None
        self._close_socket()

    def _close_socket(self) -> None:
        sock, self.sock = self.sock, None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()


def _look_up(host: Host) -> list[tuple[socket.AddressFamily, object]]:
    if host.is_unix:
        return [(socket.AF_UNIX, host.unix_path)]
    found = socket.getaddrinfo(host.address, host.port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


_UNFIT: Final = {
    "the session is not read-write": "session is read-only",
    "the session is not read-only": "session is not read-only",
    "the session is not primary": "server is in hot standby mode",
    "the session is not standby": "server is not in hot standby mode",
}


def _is_unfit(error: BaseException | None) -> bool:
    """True if the session was not of the kind that `target_session_attrs` asks for."""
    return str(error) in _UNFIT


def _is_missing_password(error: BaseException | None) -> bool:
    return isinstance(error, ConfigError) and "no password supplied" in str(error)


def _where(host: Host, ip: str) -> str:
    if host.is_unix:
        return f'connection to server on socket "{host.unix_path}" failed: '
    name = host.host or ip
    shown = f'"{name}"' if name == ip else f'"{name}" ({ip})'
    return f"connection to server at {shown}, port {host.port} failed: "


def _hint(where: str, error: OSError) -> str:
    if error.errno not in (errno.ECONNREFUSED, errno.ENOENT, errno.EACCES):
        return ""
    if "on socket" in where:
        return "\tIs the server running locally and accepting connections on that socket?\n"
    return "\tIs the server running on that host and accepting TCP/IP connections?\n"
