"""The configuration of a connection: hosts, identity, TLS policy, limits.

Rule: a Config is immutable and complete.  Every host, every retry and every cancel request uses the same
object, so that no path can lose a security setting.  Rule: it shows no secret; `repr` has host, port,
database and user.

`parse_config` makes one from a connection string; a test or an embedder can make one by hand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigError
from .dsn import check_text
from .files import PasswordEntry, find_password
from .options import MAX_HOSTS, AskPassword, unknown_option
from .requireauth import parse_require_auth
from .secret import Secret

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = [
    "CHANNEL_BINDINGS",
    "LOAD_BALANCE_HOSTS",
    "PROTOCOL_VERSIONS",
    "SSLMODES",
    "SSLNEGOTIATIONS",
    "STATEMENT_MODES",
    "TARGET_SESSION_ATTRS",
    "TLS_VERSIONS",
    "Config",
    "Host",
    "TLSOptions",
]

SSLMODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""Weakest first: no TLS; if the server insists; if possible; always; with a trusted CA; with the name."""

SSLNEGOTIATIONS: Final = ("postgres", "direct")
TLS_VERSIONS: Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
CHANNEL_BINDINGS: Final = ("disable", "prefer", "require")
LOAD_BALANCE_HOSTS: Final = ("disable", "random")
STATEMENT_MODES: Final = ("cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol")
TARGET_SESSION_ATTRS: Final = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
PROTOCOL_VERSIONS: Final[dict[str, int]] = {"3.0": 196608, "3.2": 196610, "latest": 196610}

CONTEXT_HAS: Final = (
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcrl",
    "sslcrldir",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
)
"""What an `ssl.SSLContext` takes the place of."""

_STRONG: Final = ("require", "verify-ca", "verify-full")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name}: expected one of {', '.join(choices)}")


@dataclass(frozen=True, slots=True)
class Host:
    """One address of a server.

    Args:
        host: a host name or address, or the directory of a unix socket (starts with `/`, or with `@` for
            Linux's abstract namespace).  "" if only `hostaddr` is known.
        hostaddr: the IP address to connect to, which saves the look-up of `host`; "" if not given.
        port: the TCP port, or the number in the name of the unix socket.
    """

    host: str = "localhost"
    hostaddr: str = ""
    port: int = 5432

    @property
    def is_unix(self) -> bool:
        """True if this is a unix socket; TLS and TCP options do not apply to it."""
        return not self.hostaddr and self.host.startswith(("/", "@"))

    @property
    def unix_path(self) -> str:
        """The path of the unix socket, `<directory>/.s.PGSQL.<port>`; "" if this is not a unix socket.

        A path in the abstract namespace starts with NUL, as the system requires.
        """
        if not self.is_unix:
            return ""
        path = f"{self.host}/.s.PGSQL.{self.port}"
        return "\0" + path[1:] if path.startswith("@") else path

    @property
    def address(self) -> str:
        """The name or address for a TCP socket: `hostaddr`, else `host`."""
        return self.hostaddr or self.host

    def __str__(self) -> str:
        if self.is_unix:
            return f"{self.host}/.s.PGSQL.{self.port}"
        name = self.host or self.hostaddr
        return f"[{name}]:{self.port}" if ":" in name else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class TLSOptions:
    """The TLS policy of a connection; each attribute is libpq's option of that name.

    Manual: "SSL Support".  `pgproto.protocol.tls.make_context` turns it into an `ssl.SSLContext`.

    Args:
        sslmode: one of SSLMODES.
        sslnegotiation: `postgres` asks by SSLRequest; `direct` starts with TLS (PostgreSQL 17).
        sslrootcert: the file with the trusted CAs, or `system` for the system's; None for none.
            If it is given, the server's certificate is verified in every mode that uses TLS.
        sslcert: the file with the client's certificate.
        sslkey: the file with its key; None if the key is in `sslcert`.
        sslpassword: the pass phrase of the key.
        sslcrl: a file with certificate revocation lists.
        sslcrldir: a directory of them, with OpenSSL's hashed file names.
        sslsni: False not to send the host name in clear (Server Name Indication).
        ssl_min_protocol_version: one of TLS_VERSIONS; None for OpenSSL's own limit.
        ssl_max_protocol_version: one of TLS_VERSIONS; None for no limit.
        context: an `ssl.SSLContext` of the caller's, used as it is: it says what is checked.  It needs
            `sslmode` to be `require` or stronger, and takes the place of the files and limits of versions.
            For `direct` it must offer ALPN `postgresql`.

    Raises:
        ConfigError: a value is not allowed, or a combination protects less than it says.
    """

    sslmode: str = "prefer"
    sslnegotiation: str = "postgres"
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    sslpassword: Secret | None = None
    sslcrl: str | None = None
    sslcrldir: str | None = None
    sslsni: bool = True
    ssl_min_protocol_version: str | None = "TLSv1.2"
    ssl_max_protocol_version: str | None = None
    context: SSLContext | None = None

    def __post_init__(self) -> None:
        _check_choice("sslmode", self.sslmode, SSLMODES)
        _check_choice("sslnegotiation", self.sslnegotiation, SSLNEGOTIATIONS)
        low, high = self.ssl_min_protocol_version, self.ssl_max_protocol_version
        if low is not None:
            _check_choice("ssl_min_protocol_version", low, TLS_VERSIONS)
        if high is not None:
            _check_choice("ssl_max_protocol_version", high, TLS_VERSIONS)
            if low is not None and TLS_VERSIONS.index(low) > TLS_VERSIONS.index(high):
                raise ConfigError("ssl_min_protocol_version is greater than ssl_max_protocol_version")
        if self.sslnegotiation == "direct" and self.sslmode not in _STRONG:
            raise ConfigError(
                f'sslmode "{self.sslmode}" is too weak for sslnegotiation=direct (use "require" or stronger)'
            )
        if self.sslrootcert == "system" and self.sslmode not in ("disable", "verify-full"):
            raise ConfigError(
                f'sslmode "{self.sslmode}" is too weak for sslrootcert=system (use "verify-full")'
            )
        if self.sslmode == "verify-full" and not self.sslsni:
            raise ConfigError("sslsni=0 cannot be combined with sslmode=verify-full")
        if self.context is not None:
            self._check_context(self.context)

    def _check_context(self, context: SSLContext) -> None:
        if not callable(getattr(context, "wrap_bio", None)):
            raise ConfigError(f"ssl: must be an ssl.SSLContext, not {type(context).__name__}; see sslmode")
        if context.protocol.name == "PROTOCOL_TLS_SERVER":
            raise ConfigError("ssl: the context is a server's; see ssl.create_default_context()")
        if self.sslmode not in _STRONG:
            raise ConfigError(f'ssl: sslmode "{self.sslmode}" may use no TLS (use "require", or none at all)')
        if self.sslmode.startswith("verify") and not context.verify_mode:
            raise ConfigError(f"ssl: the context verifies no certificate, as sslmode={self.sslmode} demands")
        if self.sslmode == "verify-full" and not context.check_hostname:
            raise ConfigError("ssl: the context checks no host name, as sslmode=verify-full demands")
        if context.check_hostname and not self.sslsni:
            raise ConfigError("sslsni=0 cannot be combined with a context that checks the host name")
        for one in dataclasses.fields(self):
            if one.name in CONTEXT_HAS and getattr(self, one.name) != one.default:
                raise ConfigError(f"{one.name}: cannot be combined with ssl, whose context has this")

    @property
    def verifies(self) -> bool:
        """True if the server's certificate must come from a trusted CA."""
        if self.context is not None:
            return bool(self.context.verify_mode)
        return self.sslrootcert is not None or self.sslmode.startswith("verify")

    def server_hostname(self, host: Host) -> str | None:
        """The name for Server Name Indication and for the check of the certificate; None for no name."""
        return (host.host or None) if self.sslsni else None


@dataclass(frozen=True, slots=True, repr=False)
class Config:
    """Everything needed to connect; immutable.

    Args:
        user: the user to connect as.
        database: the database; "" for the one with the user's name.
        hosts: the hosts to try, in order.
        password: the password for every host.
        ask_password: returns the password, or something to await that does; called for every new connection.
        passfile: the entries of the password file, used if there is no `password`.
        application_name: "" to send none.
        client_encoding: the encoding of the session's texts; "" to ask for none, and take the server's.  Only
            embedders of the core may use another one than UTF-8: see `Connector`.
        options: command-line options for the server (`-c name=value`), "" for none.
        server_settings: run-time parameters of the session, as (name, value).
        replication: "" for an ordinary session, else `database`, `true`, ...
        connect_timeout: seconds for one host, up to the first ReadyForQuery; None for no limit.
        command_timeout: seconds for a command that has no timeout of its own; None for no limit.
        tls: the TLS policy for TCP hosts.
        require_auth: the authentication methods that the server may use; "" for the default policy.
        channel_binding: `disable`, `prefer` or `require`.
        requirepeer: the operating system's user that must run the server of a unix socket; "" for any.
        target_session_attrs: the kind of server to accept, one of TARGET_SESSION_ATTRS.
        load_balance_hosts: `random` to try the hosts in random order, else `disable`.
        min_protocol_version: the oldest protocol version to accept, as the number in StartupMessage.
        max_protocol_version: the version to ask for.
        keepalives: True to use TCP keepalives.
        keepalives_idle: seconds of silence before the first one; None for the system's default.
        keepalives_interval: seconds between them; None for the system's default.
        keepalives_count: the number that may be lost; None for the system's default.
        tcp_user_timeout: milliseconds for which sent data may stay unacknowledged; None for the default.
        tcp_user_timeout_given: True if the user chose it; else it is lifted while much data is
            unacknowledged.
        statement_cache_size: the number of prepared statements that a connection keeps; 0 for none.
        statement_mode: how statements are run, one of STATEMENT_MODES: see the guide, "Statement modes".
        pipelining: True to send requests while answers are outstanding, False never to; None to decide by the
            server's answer to protocol 3.2 (see the guide, "Poolers").
        max_message_size: the longest message to accept from the server, in bytes.
        warnings: problems that were ignored (such as a password file that others can read).

    Raises:
        ConfigError: there is no host, or a text cannot be sent by the protocol.
    """

    user: str
    database: str = ""
    hosts: tuple[Host, ...] = (Host(),)
    password: Secret | None = None
    passfile: tuple[PasswordEntry, ...] = ()
    application_name: str = ""
    client_encoding: str = "UTF8"
    options: str = ""
    server_settings: tuple[tuple[str, str], ...] = ()
    replication: str = ""
    connect_timeout: float | None = 10.0
    command_timeout: float | None = 300.0
    tls: TLSOptions = TLSOptions()
    require_auth: str = ""
    channel_binding: str = "prefer"
    requirepeer: str = ""
    target_session_attrs: str = "any"
    load_balance_hosts: str = "disable"
    min_protocol_version: int = PROTOCOL_VERSIONS["3.0"]
    max_protocol_version: int = PROTOCOL_VERSIONS["latest"]
    keepalives: bool = True
    keepalives_idle: int | None = 30
    keepalives_interval: int | None = 10
    keepalives_count: int | None = 3
    tcp_user_timeout: int | None = 30_000
    tcp_user_timeout_given: bool = False
    statement_cache_size: int = 100
    statement_mode: str = "cache_statement"
    pipelining: bool | None = None
    max_message_size: int = 2**30 - 2
    warnings: tuple[str, ...] = field(default=(), compare=False)
    ask_password: AskPassword | None = None

    def __post_init__(self) -> None:
        if not self.hosts:
            raise ConfigError("host: at least one is needed")
        if len(self.hosts) > MAX_HOSTS:
            raise ConfigError(f"host: at most {MAX_HOSTS} are possible")
        if not self.user:
            raise ConfigError("user: must not be empty")
        check_text("user", self.user)
        check_text("dbname", self.database)
        check_text("application_name", self.application_name)
        check_text("client_encoding", self.client_encoding)
        check_text("options", self.options)
        check_text("replication", self.replication)
        check_text("requirepeer", self.requirepeer)
        for host in self.hosts:
            check_text("host", host.host)
            check_text("hostaddr", host.hostaddr)
            if not 0 < host.port < 65536:
                raise ConfigError("port: expected a number from 1 to 65535")
        for key, value in self.server_settings:
            check_text("server_settings", key)
            if key.lower() == "client_encoding":
                raise ConfigError("server_settings: client_encoding is always UTF8")
            check_text(f"server_settings: {key}", value)
        if self.tls.context is not None and self.tls.context.check_hostname:
            for host in self.hosts:
                if not (host.host or host.is_unix):
                    raise ConfigError(
                        "ssl: the context checks names: each host needs one, not only a hostaddr"
                    )
        parse_require_auth(self.require_auth)
        _check_choice("channel_binding", self.channel_binding, CHANNEL_BINDINGS)
        _check_choice("target_session_attrs", self.target_session_attrs, TARGET_SESSION_ATTRS)
        _check_choice("statement_mode", self.statement_mode, STATEMENT_MODES)
        _check_choice("load_balance_hosts", self.load_balance_hosts, LOAD_BALANCE_HOSTS)
        if self.min_protocol_version > self.max_protocol_version:
            raise ConfigError("min_protocol_version is greater than max_protocol_version")

    def __repr__(self) -> str:
        hosts = ",".join(map(str, self.hosts))
        return f"Config(hosts={hosts!r}, database={self.database or self.user!r}, user={self.user!r})"

    def startup_parameters(self) -> dict[str, str]:
        """The parameters of the StartupMessage, in the order of sending.

        Manual: "Message Formats", StartupMessage.
        """
        parameters = {"user": self.user, "database": self.database or self.user}
        if self.replication:
            parameters["replication"] = self.replication
        if self.options:
            parameters["options"] = self.options
        if self.application_name:
            parameters["application_name"] = self.application_name
        if self.client_encoding:
            parameters["client_encoding"] = self.client_encoding
        parameters.update(self.server_settings)
        return parameters

    def password_for(self, host: Host) -> Secret | None:
        """The password for a host: the explicit one, else that of the password file; None if there is none.

        Args:
            host: the host.
        """
        if self.password is not None or self.ask_password is not None:
            return self.password
        name = host.host or host.hostaddr
        return find_password(self.passfile, name, host.port, self.database or self.user, self.user)

    def tls_for(self, host: Host) -> TLSOptions | None:
        """The TLS policy for a host; None if it is not used (unix sockets, sslmode=disable)."""
        return None if host.is_unix or self.tls.sslmode == "disable" else self.tls

    def replace(self, **changes: Any) -> Config:
        """A copy with changed values.

        Args:
            **changes: new values by the names of the attributes.  `password` may be a str, and
                `server_settings` a mapping.

        Raises:
            ConfigError: a name is unknown, or a value is not allowed.
        """
        names = [one.name for one in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                raise unknown_option(name, "Config.replace", names)
        password = changes.get("password")
        if isinstance(password, str):
            check_text("password", password)
            changes["password"] = Secret.of(password)
        settings = changes.get("server_settings")
        if isinstance(settings, Mapping):
            changes["server_settings"] = tuple(settings.items())
        return dataclasses.replace(self, **changes)
