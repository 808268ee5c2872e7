"""Connecting: hosts, encryption, protocol version, target session; and cancel requests.

A flow is a generator that yields steps.  The steps are `Dial` (open a transport and attach it to the engine),
an operation to start on that engine, an operation to run on it, and `HangUp`.  The adapter does each step and
sends None into the flow, or throws the exception.  A flow can be given up at any step (`close()`): it closes
its current engine, and the adapter closes the transport.  `Poller` runs a flow without blocking.

The rules are libpq's: every host has its own time budget for all attempts; a host that refuses the user ends
the search, after any other failure the next host is tried; every attempt's error is reported.  Policies (TLS,
authentication) never change between attempts.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Final

from ..config import Config, Host
from ..config.options import is_utf8
from ..config.secret import Secret
from ..errors import (
    ConfigError,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    Error,
    LocalProtocolError,
    PostgresError,
    RemoteProtocolError,
    because,
    not_sent,
)
from ..protocol import Authenticator
from ..types import BUILT_IN, TypeMap
from ..wire import PROTOCOL_3_0, PROTOCOL_3_2, BackendKeyData
from .engine import Engine
from .modes import MODES
from .observing import Observer, Report
from .operation import Operation
from .script import Script
from .startup import ENCRYPT_DIRECT, ENCRYPT_NEVER, ENCRYPT_REQUIRE, ENCRYPT_TRY, Cancel, Startup
from .statements import StatementCache
from .tracing import TraceLine, tracer

if TYPE_CHECKING:
    import ssl

    from ..protocol.tls import TLS

__all__ = ["Accept", "Connector", "Dial", "HangUp", "Step", "check_left", "check_new"]

# The ways of encryption to try, in order.  With `allow` and `prefer` the second way is tried only if the
# first one failed for a reason that encryption can have.
_WAYS: Final[dict[str, tuple[int, ...]]] = {
    "disable": (ENCRYPT_NEVER,),
    "allow": (ENCRYPT_NEVER, ENCRYPT_REQUIRE),
    "prefer": (ENCRYPT_TRY, ENCRYPT_NEVER),
    "require": (ENCRYPT_REQUIRE,),
    "verify-ca": (ENCRYPT_REQUIRE,),
    "verify-full": (ENCRYPT_REQUIRE,),
}

_NO_DIRECT: Final = (
    "a server older than PostgreSQL 17 hangs up on sslnegotiation=direct, as do poolers that do not know it: "
    "sslnegotiation=postgres is the way there"
)

_NO_ALPN: Final = (
    _NO_DIRECT + '; and ssl needs a context that offers the protocol: set_alpn_protocols(["postgresql"])'
)

# The server refuses this user or database: other hosts would too, and repeated attempts may lock the account.
_ENDS_SEARCH: Final = ("28", "3D", "42501", "0A000", "22023", "42704")

# The server has understood the StartupMessage: unknown user or database, too many connections, starting up.
_UNDERSTOOD: Final = ("28", "3D", "53", "57")


class Dial:
    """Step: open a transport to `host` and attach it to `engine`.

    Attributes:
        fresh: True for a new host, with a new time budget; False to continue that of the last attempt.
    """

    __slots__ = ("engine", "fresh", "host")

    def __init__(self, host: Host, engine: Engine, *, fresh: bool) -> None:
        self.host = host
        self.engine = engine
        self.fresh = fresh


class HangUp:
    """Step: close the transport of `engine`."""

    __slots__ = ("engine",)

    def __init__(self, engine: Engine) -> None:
        self.engine = engine


class Accept:
    """Step: ask the caller whether the session of `engine` will do; only in a flow that was asked for it.

    If it will not, throw a ConnectError that says why: then the next host is tried.
    """

    __slots__ = ("engine",)

    def __init__(self, engine: Engine) -> None:
        self.engine = engine


Step = Dial | HangUp | Accept | Operation
"""A step of a flow."""


def _ends_search(error: Exception) -> bool:
    """True if the server refuses this user, database or configuration."""
    if isinstance(error, ConfigError):
        return True
    return isinstance(error, PostgresError) and error.sqlstate.startswith(_ENDS_SEARCH)


class Connector:
    """Makes sessions for one configuration.

    Args:
        config: how to connect.
        clock: tells monotonic time in seconds.
        random_bytes: gives so many unpredictable bytes (`os.urandom`).
        any_encoding: take a configuration whose client_encoding is not UTF-8.  The operations of the core
            write and read UTF-8: such SQL and names are given as bytes in messages, and results read raw.
        types: the types of the sessions, which learn in it; by default a new map.

    Attributes:
        observers: who is told what the sessions do.
        report: takes what observers and traces raise; None to drop it.
        trace: takes each message of the sessions as a line; None for no trace.

    Raises:
        ConfigError: the client_encoding is not UTF-8, and `any_encoding` is false.
    """

    __slots__ = (
        "_asked_for_3_0",
        "_clock",
        "_context",
        "_random_bytes",
        "config",
        "observers",
        "report",
        "trace",
        "types",
    )

    def __init__(
        self,
        config: Config,
        *,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        any_encoding: bool = False,
        types: TypeMap | None = None,
    ) -> None:
        if not any_encoding and not is_utf8(config.client_encoding):
            raise ConfigError("client_encoding: must be UTF8")
        self.config = config
        self.types = TypeMap(BUILT_IN) if types is None else types
        self._clock = clock
        self._random_bytes = random_bytes
        self._asked_for_3_0: set[Host] = set()  # hosts that refused 3.2 the last time and then accepted 3.0
        self._context: ssl.SSLContext | None = None
        self.observers: Sequence[Observer] = ()
        self.report: Report | None = None
        self.trace: TraceLine | None = None

    def connect(
        self, password: str | None = None, *, accepting: bool = False
    ) -> Generator[Step, None, Engine]:
        """A flow that returns the engine of a session that is ready for queries.

        Args:
            password: what `config.ask_password` has returned; None if the configuration has no such function.
            accepting: True to ask about each session before it is taken: see `Accept`.

        Raises:
            ConnectError: no host accepted; `errors` has the error of each attempt.
            ConfigError: a TLS file cannot be used, or a password is needed and not given.
        """
        if password is None and self.config.ask_password is not None:
            raise ConfigError("password: it is a function, whose answer Connector.connect() needs")
        given = None if password is None else Secret.of(password)
        errors: list[Exception] = []
        wanted = self.config.target_session_attrs
        passes = ("standby", "any") if wanted == "prefer-standby" else (wanted,)
        for target in passes:
            for host in self._hosts():
                engine = yield from self._try_host(host, target, errors, given, accepting)
                if engine is not None:
                    return engine
                if _ends_search(errors[-1]):
                    raise _failure(errors)
        raise _failure(errors)

    def cancel(self, engine: Engine, key: BackendKeyData) -> Generator[Step, None, None]:
        """A flow that sends a cancel request for a session, to the same address with the same encryption."""
        host = engine.host
        if host is None:
            return
        canceller = self._engine()
        try:
            yield Dial(host, canceller, fresh=True)
        except GeneratorExit:
            canceller.close()
            raise
        way = engine.encryption
        error: BaseException | None = None
        try:
            yield Cancel(key, encryption=way, make_tls=self._tls_factory(host, way))
        except GeneratorExit:
            canceller.close()
            raise
        except BaseException as caught:  # noqa: BLE001 - raised again below
            error = caught
        yield HangUp(canceller)
        if error is not None:
            raise error

    def _hosts(self) -> list[Host]:
        hosts = list(self.config.hosts)
        if self.config.load_balance_hosts == "random":
            for index in range(len(hosts) - 1, 0, -1):
                other = int.from_bytes(self._random_bytes(4), "big") % (index + 1)
                hosts[index], hosts[other] = hosts[other], hosts[index]
        return hosts

    def _try_host(
        self, host: Host, target: str, errors: list[Exception], given: Secret | None, accepting: bool
    ) -> Generator[Step, None, Engine | None]:
        """Try one host in the ways that the TLS mode allows; append its errors to `errors`."""
        ways = list(self._ways(host))
        protocol = PROTOCOL_3_0 if host in self._asked_for_3_0 else self.config.max_protocol_version
        refusal: Exception | None = None  # the answer to the newer protocol version
        fresh = True
        while ways:
            way = ways[0]
            engine = self._engine()
            engine.host = host
            self._introduce(engine)
            startup = self._startup(host, way, protocol, given)
            error: Exception | None = None
            try:
                try:
                    yield Dial(host, engine, fresh=fresh)
                except UnicodeError as caught:  # a label of the host name is empty or too long
                    unknown = ConnectError("the host's name is not one that can be looked up")
                    raise because(unknown, caught) from caught
                fresh = False
                yield startup
                if protocol < self.config.max_protocol_version:
                    self._asked_for_3_0.add(host)
                engine.pipelining = self._pipelining(protocol)
                if engine.connection.protocol < PROTOCOL_3_2:
                    engine.channel.statements.doubt()
                engine.encryption = ENCRYPT_NEVER if engine.channel.tls is None else max(way, ENCRYPT_REQUIRE)
                if engine.connection.protocol < self.config.min_protocol_version:
                    raise ConnectError("the server does not support min_protocol_version", permanent=True)
                self._introduce(engine)
                yield from self._check_target(engine, target)
                if accepting:
                    yield Accept(engine)
            except GeneratorExit:
                engine.close()
                raise
            except (Error, OSError) as caught:
                error = caught
            if error is None:
                return engine
            yield HangUp(engine)
            encryption_matters = not startup.opened or _about_encryption(error, engine)
            older = self.config.min_protocol_version <= PROTOCOL_3_0 < protocol
            refused = older and not encryption_matters and _refuses_protocol(startup, error)
            # The host may come back as another server.  A refusal does not mean that: a concurrent attempt
            # may have learned of it already.
            if not startup.answered and not refused:
                self._asked_for_3_0.discard(host)
            if _about_password(startup, error):
                for warning in self.config.warnings:
                    error.add_note(warning)
            if way == ENCRYPT_DIRECT and encryption_matters and isinstance(error, ConnectionLost):
                error.add_note(_NO_DIRECT if self.config.tls.context is None else _NO_ALPN)
            error.add_note(f"while connecting to {host}")  # must be the last note: `_failure` reads it
            if refusal is not None and isinstance(error, Error):
                error.also = [*error.also, refusal]
            errors.append(error)
            if isinstance(error, ConfigError) or not startup.begun:
                return None  # the transport did not open: another way of encryption would not help
            if refused:
                protocol = PROTOCOL_3_0
                # The answer to the older version is the host's answer; the refusal only led to it.
                refusal = errors.pop()
                continue
            ways.pop(0)
            if ways and not encryption_matters:
                return None
        return None

    def _pipelining(self, protocol: int) -> bool:
        """Whether to pipeline in a session that was opened by asking for this protocol version.

        Every PostgreSQL server answers a request for 3.2, if only with NegotiateProtocolVersion.  A peer that
        refuses it is usually a pooler, and PgBouncer up to 1.20 mixes up pipelined segments of its clients.
        """
        if self.config.pipelining is not None:
            return self.config.pipelining
        return protocol > PROTOCOL_3_0 and MODES[self.config.statement_mode].named

    def _ways(self, host: Host) -> tuple[int, ...]:
        tls = self.config.tls
        if host.is_unix:
            return (ENCRYPT_NEVER,)
        if tls.sslnegotiation == "direct":
            return (ENCRYPT_DIRECT,)
        return _WAYS[tls.sslmode]

    def _engine(self) -> Engine:
        config = self.config
        token = self._random_bytes(4).hex()
        statements = StatementCache(
            config.statement_cache_size,
            f"pgproto_{token}_",
            named=MODES[config.statement_mode].named,
            types=self.types,
        )
        engine = Engine(
            clock=self._clock,
            statements=statements,
            max_message_size=config.max_message_size,
            observers=self.observers,
            report=self.report,
        )
        engine.connection.asked_encoding = config.client_encoding
        if self.trace is not None:
            engine.connection.trace = tracer(engine.session, self.trace, self.report)
        return engine

    def _introduce(self, engine: Engine) -> None:
        """Say to observers whose session it is."""
        watch = engine.channel.watch
        if watch is not None:
            config, key = self.config, engine.connection.backend_key
            session = watch.session
            session.host, session.user = engine.host, config.user
            session.database = config.database or config.user
            session.pid = 0 if key is None else key.process_id

    def _startup(self, host: Host, way: int, protocol: int, given: Secret | None) -> Startup:
        config = self.config
        secret = given or config.password_for(host)
        nonce = base64.b64encode(self._random_bytes(18)).decode("ascii")

        def authenticate(encrypted: bool, binding: bytes | None) -> Authenticator:
            return Authenticator(
                user=config.user,
                password=secret.reveal() if secret is not None else None,
                nonce=nonce,
                require_auth=config.require_auth,
                channel_binding=config.channel_binding,
                encrypted=encrypted,
                local=host.is_unix,
                channel_binding_data=binding,
            )

        return Startup(
            config.startup_parameters(),
            authenticate,
            encryption=way,
            make_tls=self._tls_factory(host, way),
            protocol=protocol,
        )

    def _tls_factory(self, host: Host, way: int) -> Callable[[], TLS]:
        def make_tls() -> TLS:
            from ..protocol.tls import TLS, make_context

            if self._context is None:
                self._context = make_context(self.config.tls)
            name = self.config.tls.server_hostname(host)
            return TLS(self._context, name, require_alpn=way == ENCRYPT_DIRECT)

        return make_tls

    def _check_target(self, engine: Engine, target: str) -> Generator[Step, None, None]:
        """Check the session against `target_session_attrs`.

        Servers from 14 on report the parameters needed for that; older ones are queried.
        """
        if target == "any":
            return
        parameters = engine.connection.parameters
        standby = parameters.get("in_hot_standby")
        if standby is None:
            standby = yield from _ask(engine, "SELECT CASE WHEN pg_is_in_recovery() THEN 'on' ELSE 'off' END")
        read_only = parameters.get("default_transaction_read_only")
        if read_only is None:
            read_only = yield from _ask(engine, "SHOW default_transaction_read_only")
        writable = standby == "off" and read_only == "off"
        fits = {
            "read-write": writable,
            "read-only": not writable,
            "primary": standby == "off",
            "standby": standby == "on",
        }
        if not fits[target]:
            raise ConnectError(f"the session is not {target}")


def _ask(engine: Engine, sql: str) -> Generator[Step, None, str]:
    script = Script(sql)
    yield script
    for result in script.results:
        for row in result.rows:
            return str(row[0])
    raise RemoteProtocolError("the server answered a question about itself without a row")


def _about_encryption(error: Exception, engine: Engine) -> bool:
    """True if another way of encryption could help: a failed handshake, or no fitting line in pg_hba.conf."""
    if isinstance(error, PostgresError):
        return error.sqlstate == "28000"  # no line of pg_hba.conf fits; a wrong password stays wrong
    tls = engine.channel.tls
    return tls is not None and not tls.handshake_complete


def _about_password(startup: Startup, error: Exception) -> bool:
    """True if the server asked for a password, and there was none or a wrong one."""
    if isinstance(error, PostgresError):
        return error.sqlstate == "28P01"
    return startup.answered and isinstance(error, ConfigError)


def _refuses_protocol(startup: Startup, error: Exception) -> bool:
    """True if an older protocol version could help: the StartupMessage got only an error, or no answer.

    The SQLSTATE proves nothing: poolers and other products have codes of their own.
    """
    if startup.answered:
        return False
    if isinstance(error, PostgresError):
        return not error.sqlstate.startswith(_UNDERSTOOD)
    return isinstance(error, ConnectionLost)


def _failure(errors: list[Exception]) -> Exception:
    last = errors[-1]
    if isinstance(last, ConfigError):
        return last
    lines = []
    advice: list[str] = []
    for error in errors:
        notes = getattr(error, "__notes__", ())
        where = notes[-1].removeprefix("while connecting to ") if notes else "?"
        lines.append(f"{where}: {error or type(error).__name__}")
        advice += notes[:-1]
    failure = ConnectError("could not connect: " + "; ".join(dict.fromkeys(lines)), errors)
    for note in dict.fromkeys(advice):
        failure.add_note(note)
    failure.__cause__ = last
    return failure


def check_new(engine: Engine, hook: str = "") -> None:
    """Raise if a new session cannot be lent.

    Args:
        engine: the session.
        hook: the name of the hook that has used it; "" for none.

    Raises:
        ConnectionClosed: the server has ended the session or is about to; connect again.
        LocalProtocolError: the hook has closed it, or as `check_left`.
    """
    cause = engine.cause
    if hook and engine.closed:
        if cause is None:
            raise LocalProtocolError(f"{hook} closed the connection")
        ended = ConnectionClosed(f"the session ended in {hook}: {cause}")
        ended.__cause__ = cause
        raise ended
    engine.check_open()
    if engine.retiring:
        raise ConnectionClosed("the server is about to end the session")
    check_left(engine, hook)


def check_left(engine: Engine, hook: str) -> None:
    """Raise if a hook has left a session in a state in which nobody else can use it.

    Args:
        engine: the session; if it has ended or is about to, the hook is not to blame.
        hook: the hook's name.

    Raises:
        LocalProtocolError: something is in flight, or a transaction is open.  Nothing of the borrower was
            sent.
    """
    if not (engine.closed or engine.retiring or engine.reusable):
        raise not_sent(f"{hook} left the connection busy, or in a transaction")
