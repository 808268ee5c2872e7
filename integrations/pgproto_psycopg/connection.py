"""`PGconn`: a connection, its attributes, its beginning and its end."""

from __future__ import annotations

import os
import time
from typing import ClassVar, Self

from psycopg import errors as e
from psycopg.pq import ConnStatus, ExecStatus, Ping, PollingStatus, Trace, TransactionStatus
from psycopg.pq.misc import ConninfoOption, connection_summary

from pgproto.config import Config, Host
from pgproto.errors import ConfigError
from pgproto.protocol import ScramVerifier, md5_verifier
from pgproto.session import Connector, Engine

from . import options
from .cancelling import Key, PGcancel, PGcancelConn
from .connecting import Attempt
from .conninfo import configure, understand
from .dsn import ConninfoError
from .pipelining import Pipelining
from .results import PGresult
from .sending import text
from .tracing import tracer
from .transport import Transport

__all__ = ["PGconn"]

_ERRORS = frozenset(
    {ExecStatus.BAD_RESPONSE, ExecStatus.NONFATAL_ERROR, ExecStatus.FATAL_ERROR}
    | {ExecStatus.PIPELINE_SYNC, ExecStatus.PIPELINE_ABORTED}
)


class PGconn(Pipelining):
    """A connection.  psycopg: `psycopg.pq.PGconn`; libpq: PGconn.

    `connect` and `connect_start` make one.
    """

    last_standard: ClassVar[bool] = True

    def __init__(self, conninfo: bytes) -> None:
        super().__init__()
        self._procpid = os.getpid()
        self._conninfo = conninfo
        self._values: dict[str, str] | None = None  # the options in use, once they are understood
        self._config: Config | None = None
        self._attempt: Attempt | None = None
        self._connector: Connector | None = None
        self._engine: Engine | None = None
        self._host: Host | None = None  # of the last attempt, with the address that was connected to
        self._needs_password = self._used_password = False
        self._late = False  # the connection string's mistake is one that libpq finds when it connects
        self._trace_flags = _Flags()

    def __del__(self) -> None:
        self._leave()

    def __repr__(self) -> str:
        cls = f"{self.__class__.__module__}.{self.__class__.__qualname__}"
        return f"<{cls} {connection_summary(self)} at 0x{id(self):x}>"

    # --- the beginning

    @classmethod
    def connect(cls, conninfo: bytes) -> Self:
        """Connect, and wait for it; look at `status`.  libpq: PQconnectdb."""
        conn = cls(_conninfo(conninfo))
        if conn._start(timeout=True):
            conn._run()
        return conn

    @classmethod
    def connect_start(cls, conninfo: bytes) -> Self:
        """Begin to connect; go on with `connect_poll`.  libpq: PQconnectStart."""
        conn = cls(_conninfo(conninfo))
        if conn._start():
            conn.connect_poll()
        return conn

    def connect_poll(self) -> int:
        """Go on: one of `PollingStatus`.  libpq: PQconnectPoll."""
        self._ensure()
        if self._attempt is None:
            return PollingStatus.OK if self._status == ConnStatus.OK else PollingStatus.FAILED
        status = self._attempt.poll()
        self._note(status)
        return status

    def reset(self) -> None:
        """Connect again, and wait for it; look at `status`.  libpq: PQreset."""
        self._ensure()
        self._end()
        if self._values is None:
            self._clear_error()
        elif self._start(timeout=True):
            self._run()

    def reset_start(self) -> None:
        """Begin to connect again; go on with `reset_poll`.  libpq: PQresetStart."""
        if self._finished:
            raise e.OperationalError("couldn't reset connection")
        self._end()
        if not self._start():
            raise e.OperationalError("couldn't reset connection")
        self.connect_poll()

    def reset_poll(self) -> int:
        """Go on: one of `PollingStatus`.  libpq: PQresetPoll."""
        return self.connect_poll()

    @classmethod
    def ping(cls, conninfo: bytes) -> int:
        """Ask whether there is a server: one of `Ping`.  libpq: PQping."""
        conn = cls(_conninfo(conninfo))
        if not conn._start(timeout=True):
            return Ping.NO_RESPONSE if conn._late else Ping.NO_ATTEMPT
        attempt = conn._attempt
        assert attempt is not None
        conn._run()
        if conn._status == ConnStatus.OK:
            conn.finish()
            return Ping.OK
        if not attempt.answered:
            return Ping.NO_RESPONSE
        return Ping.REJECT if attempt.last_sqlstate == "57P03" else Ping.OK

    def _start(self, *, timeout: bool = False) -> bool:
        """Begin; False if the connection string cannot be used."""
        self._clear_error()
        self._late = False
        try:
            self._values = understand(self._conninfo)
            config = self._config = configure(self._values)
        except (ConninfoError, UnicodeError) as error:
            self._late = isinstance(error, ConninfoError) and error.late
            self._error = str(error).encode("utf-8", "surrogateescape")
            return False
        self._connector = Connector(config, clock=time.monotonic, random_bytes=os.urandom, any_encoding=True)
        limit = config.connect_timeout if timeout else None
        self._attempt = Attempt(self._connector.connect(), config, limit)
        self._status = ConnStatus.STARTED
        return True

    def _run(self) -> None:
        attempt = self._attempt
        assert attempt is not None
        self._note(PollingStatus.OK if attempt.run() else PollingStatus.FAILED)

    def _note(self, status: int) -> None:
        attempt = self._attempt
        assert attempt is not None
        self._host = attempt.host
        if status == PollingStatus.OK:
            self._connected(attempt)
        elif status == PollingStatus.FAILED:
            self._status = ConnStatus.BAD
            self._needs_password = attempt.password_missing
            self._used_password = attempt.password_asked
            self._error = attempt.explain().encode("utf-8", "surrogateescape")
            attempt.close()
            self._attempt = None
        elif attempt.connected:
            self._status = ConnStatus.MADE

    def _connected(self, attempt: Attempt) -> None:
        engine = self._engine = attempt.engine
        assert engine is not None
        self._used_password = attempt.password_asked
        self._attempt = None
        self._start_over()
        self._transport = Transport(attempt.take(), engine.connection, engine.channel.tls)
        self._status = ConnStatus.OK
        for name, value in engine.parameters.items():
            self._parameters[name.encode()] = value.encode("utf-8", "surrogateescape")
        PGconn.last_standard = self._parameters.get(b"standard_conforming_strings") == b"on"
        for notice in engine.take_notices():
            self._unasked(notice)
        for notification in engine.take_notifications():
            self._unasked(notification)

    # --- the end

    def finish(self) -> None:
        """Close the connection.  Idempotent."""
        self._leave()

    def _leave(self) -> None:
        if self.__dict__.get("_finished", True):
            return
        self._finished = True
        self._end()
        self._values = self._config = self._connector = self._engine = None

    def _end(self) -> None:
        """Close the socket.  A forked child, which has inherited it, says nothing on it."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.close()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.core.trace = None
            idle = self._status == ConnStatus.OK and self._procpid == os.getpid()
            transport.close(politely=idle)
        self._status = ConnStatus.BAD
        self._needs_password = self._used_password = False
        self._parameters = {}
        self._notifies.clear()
        self._start_over()

    @property
    def pgconn_ptr(self) -> int | None:
        """None: there is no libpq, and no structure of it."""
        return None

    # --- attributes

    @property
    def status(self) -> int:
        """One of `ConnStatus`."""
        return self._status

    @property
    def transaction_status(self) -> int:
        """One of `TransactionStatus`."""
        if self._status != ConnStatus.OK:
            return TransactionStatus.UNKNOWN
        return TransactionStatus.ACTIVE if self._state else self._xact

    @property
    def info(self) -> list[ConninfoOption]:
        """The options with the values in use; libpq: PQconninfo."""
        self._ensure()
        return options.rows(options.defaults() if self._values is None else self._values)

    def _value(self, name: str) -> bytes:
        self._ensure()
        return (self._values or {}).get(name, "").encode("utf-8", "surrogateescape")

    def _of_host(self, name: str) -> bytes:
        """The value that an option has for the host in use."""
        values = self._value(name).split(b",")
        return values[min(self._index(), len(values) - 1)]

    @property
    def db(self) -> bytes:
        """The database's name."""
        return self._value("dbname")

    @property
    def user(self) -> bytes:
        """The user's name."""
        return self._value("user")

    @property
    def password(self) -> bytes:
        """The password; b"" if there is none."""
        self._ensure()
        if self._config is None:
            return self._value("password")
        secret = self._config.password_for(self._config.hosts[self._index()])
        return b"" if secret is None else secret.reveal().encode("utf-8", "surrogateescape")

    @property
    def options(self) -> bytes:
        """The server's command-line options."""
        return self._value("options")

    @property
    def tty(self) -> bytes:
        """b"": there is no such thing any more."""
        self._ensure()
        return b""

    def _index(self) -> int:
        """Which of the hosts is in use."""
        config, host = self._config, self._host
        if config is None or host is None:
            return 0
        for index, each in enumerate(config.hosts):
            if (each.host, each.port) == (host.host, host.port) and each.hostaddr in ("", host.hostaddr):
                return index
        return 0

    @property
    def host(self) -> bytes:
        """The server's name, or the directory of its unix socket."""
        self._ensure()
        if self._config is None:
            return self._of_host("host") or self._of_host("hostaddr")
        host = self._config.hosts[self._index()]
        return (host.host or host.hostaddr).encode("utf-8", "surrogateescape")

    @property
    def hostaddr(self) -> bytes:
        """The address that is connected to; b"" for a unix socket."""
        self._ensure()
        host = self._host
        return b"" if host is None or host.is_unix else host.hostaddr.encode()

    @property
    def port(self) -> bytes:
        """The server's port."""
        return self._of_host("port") or options.compiled("port").encode()

    @property
    def socket(self) -> int:
        """The socket's file descriptor.

        Raises:
            OperationalError: there is none.
        """
        self._ensure()
        holder = self._transport if self._transport is not None else self._attempt
        if holder is None or holder.sock is None:
            raise e.OperationalError("the connection is lost")
        return holder.sock.fileno()

    @property
    def backend_pid(self) -> int:
        """The process ID of the server's process; 0 if there is no connection."""
        transport = self._ensure()
        key = transport.core.backend_key if transport is not None else None
        return key.process_id if key is not None else 0

    @property
    def server_version(self) -> int:
        """The server's version, as 180006; 0 if there is no connection."""
        self._ensure()
        if self._status != ConnStatus.OK:
            return 0
        return _version(self._parameters.get(b"server_version", b"").decode("ascii", "replace"))

    @property
    def protocol_version(self) -> int:
        """The protocol's major version; 0 if there is no connection."""
        return self.full_protocol_version // 10000

    @property
    def full_protocol_version(self) -> int:
        """The protocol's version, as 30002; 0 if there is no connection."""
        transport = self._ensure()
        if transport is None:
            return 0
        version = transport.core.protocol
        return (version >> 16) * 10000 + (version & 0xFFFF)

    @property
    def ssl_in_use(self) -> bool:
        """True if the connection is encrypted."""
        transport = self._ensure()
        return transport is not None and transport.tls is not None

    @property
    def needs_password(self) -> bool:
        """True if the server has asked for a password, and there was none."""
        return self._needs_password

    @property
    def used_password(self) -> bool:
        """True if the server has asked for a password."""
        return self._used_password

    @property
    def used_gssapi(self) -> bool:
        """False: there is no GSSAPI."""
        return False

    @property
    def nonblocking(self) -> int:
        """1 if sending does not wait."""
        return self._nonblocking

    @nonblocking.setter
    def nonblocking(self, arg: int) -> None:
        if self._finished or self._status == ConnStatus.BAD:
            raise e.OperationalError(f"setting nonblocking failed: {self.get_error_message()}")
        if self._nonblocking != int(bool(arg)):
            self._clear_old_error()
        self._nonblocking = int(bool(arg))

    def parameter_status(self, name: bytes) -> bytes | None:
        """The value of a parameter that the server reports; None if it does not.

        Args:
            name: the parameter.
        """
        self._ensure()
        return self._parameters.get(name)

    # --- cancelling

    def _key(self) -> Key | None:
        transport = self._transport
        secret = transport.core.backend_key if transport is not None else None
        if secret is None or self._connector is None or self._engine is None:
            return None
        return Key(self._connector, self._engine, secret)

    def get_cancel(self) -> PGcancel:
        """What it takes to cancel the session's commands; libpq: PQgetCancel."""
        key = None if self._finished else self._key()
        if key is None:
            raise e.OperationalError("couldn't create cancel object")
        return PGcancel(key)

    def cancel_conn(self) -> PGcancelConn:
        """A cancel request to be polled; libpq: PQcancelCreate."""
        if self._finished:
            return PGcancelConn(None, b"connection pointer is NULL\n")
        key = self._key()
        return PGcancelConn(key, b"" if key is not None else b"connection not open\n")

    # --- the rest

    def make_empty_result(self, exec_status: int) -> PGresult:
        """A result of this status, and with the present error's text if that is an error's."""
        return PGresult(exec_status, self._error if exec_status in _ERRORS else b"")

    def trace(self, fileno: int) -> None:
        """Write a line for each message to a file descriptor."""
        if self._transport is not None:
            self._transport.core.trace = tracer(fileno, self._trace_flags)

    def set_trace_flags(self, flags: Trace) -> None:
        """Set how `trace` writes: see `Trace`."""
        self._trace_flags.value = int(flags)

    def untrace(self) -> None:
        """End `trace`."""
        if self._transport is not None:
            self._transport.core.trace = None

    def encrypt_password(self, passwd: bytes, user: bytes, algorithm: bytes | None = None) -> bytes:
        """A password as the server stores it.

        Args:
            passwd: the password.
            user: the user's name.
            algorithm: b"md5" or b"scram-sha-256"; by default what the server uses.

        Raises:
            OperationalError: the algorithm is unknown, or the connection is closed.
        """
        if self._finished:
            raise e.OperationalError(f"password encryption failed: {self.get_error_message()}")
        self._clear_error()
        if algorithm is None:
            try:
                algorithm = self.exec_(b"show password_encryption").get_value(0, 0)
            except e.OperationalError:
                pass  # below
            if algorithm is None:
                raise e.OperationalError(f"password encryption failed: {self.get_error_message()}")
        password = text(passwd).decode("utf-8", "surrogateescape")
        try:
            if algorithm in (b"on", b"off", b"md5"):
                return md5_verifier(text(user).decode("utf-8", "surrogateescape"), password).encode()
            if algorithm == b"scram-sha-256":
                return ScramVerifier.from_password(password, os.urandom(16)).format().encode()
        except ConfigError as error:
            self._fail(str(error))
        else:
            self._fail(f'unrecognized password encryption algorithm "{algorithm.decode()}"')
        raise e.OperationalError(f"password encryption failed: {self.get_error_message()}")

    def change_password(self, user: bytes, passwd: bytes) -> None:
        """Change a user's password; the server gets it encrypted.

        Raises:
            OperationalError: the server refuses.
        """
        from .escaping import Escaping

        verifier = self.encrypt_password(passwd, user)
        escaping = Escaping(self)
        name, secret = escaping.escape_identifier(text(user)), escaping.escape_literal(verifier)
        result = self.exec_(b"ALTER USER " + name + b" PASSWORD " + secret)
        if result.status != ExecStatus.COMMAND_OK:
            raise e.OperationalError(f"password encryption failed: {self.get_error_message()}")


class _Flags:
    """The trace's flags: the session's trace refers to them and not to the connection."""

    def __init__(self) -> None:
        self.value = 0

    def __call__(self) -> int:
        return self.value


def _conninfo(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"expected bytes, {type(value).__name__} found")
    return value


def _version(shown: str) -> int:
    """The number of a server's version, as libpq makes it: 18.6 is 180006, 9.6.23 is 90623."""
    numbers: list[int] = []
    for part in shown.split(" ")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    if not numbers:
        return 0
    numbers += [0, 0]
    if numbers[0] >= 10:
        return numbers[0] * 10000 + numbers[1]
    return (numbers[0] * 100 + numbers[1]) * 100 + numbers[2]
