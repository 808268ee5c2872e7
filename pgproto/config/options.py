"""The table of connection options, with their environment variables and defaults.

Rule: an option is in exactly one of three tables.  OPTIONS are supported, IGNORED are accepted because they
have no effect here, UNSUPPORTED are refused with a reason.  Any other name is refused with a suggestion.
Names and variables are libpq's: manual, "Parameter Key Words" and "Environment Variables"; the last four are
pgproto's own.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypedDict

from ..errors import ConfigError
from .secret import Secret

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = [
    "IGNORED",
    "OPTIONS",
    "SECRETS",
    "SETTINGS_FROM_ENVIRONMENT",
    "UNSUPPORTED",
    "AskPassword",
    "ConnectOptions",
    "ConninfoOption",
    "Option",
    "unknown_option",
]


class Option:
    """One connection option.

    Args:
        variable: the environment variable that sets it; "" for none.
        default: the value, as text, if it is not given or empty.
    """

    __slots__ = ("default", "variable")

    def __init__(self, variable: str = "", default: str = "") -> None:
        self.variable: Final = variable
        self.default: Final = default


OPTIONS: Final[dict[str, Option]] = {
    # Where to connect.  libpq's default host is the socket directory of its build, which is not known here;
    # so the default is localhost.
    "service": Option("PGSERVICE"),
    "servicefile": Option("PGSERVICEFILE"),
    "host": Option("PGHOST", "localhost"),
    "hostaddr": Option("PGHOSTADDR"),
    "port": Option("PGPORT", "5432"),
    "dbname": Option("PGDATABASE"),
    "user": Option("PGUSER"),
    "password": Option("PGPASSWORD"),
    "passfile": Option("PGPASSFILE"),
    "target_session_attrs": Option("PGTARGETSESSIONATTRS", "any"),
    "load_balance_hosts": Option("PGLOADBALANCEHOSTS", "disable"),
    # The link.
    "connect_timeout": Option("PGCONNECT_TIMEOUT", "10"),
    "keepalives": Option(default="1"),
    "keepalives_idle": Option(default="30"),
    "keepalives_interval": Option(default="10"),
    "keepalives_count": Option(default="3"),
    "tcp_user_timeout": Option(default="30000"),
    "requirepeer": Option("PGREQUIREPEER"),
    # Encryption.  `prefer` is libpq's default.  It is acceptable only because a cleartext or MD5 password
    # is never sent over an unencrypted TCP link unless `require_auth` lists the method, so that an attacker
    # who strips TLS does not get the password.  It does not authenticate the server; verify-full does.
    "sslmode": Option("PGSSLMODE", "prefer"),
    "sslnegotiation": Option("PGSSLNEGOTIATION", "postgres"),
    "sslrootcert": Option("PGSSLROOTCERT"),
    "sslcert": Option("PGSSLCERT"),
    "sslkey": Option("PGSSLKEY"),
    "sslpassword": Option(),
    "sslcertmode": Option("PGSSLCERTMODE", "allow"),
    "sslcrl": Option("PGSSLCRL"),
    "sslcrldir": Option("PGSSLCRLDIR"),
    "sslsni": Option("PGSSLSNI", "1"),
    "ssl_min_protocol_version": Option("PGSSLMINPROTOCOLVERSION", "TLSv1.2"),
    "ssl_max_protocol_version": Option("PGSSLMAXPROTOCOLVERSION"),
    "gssencmode": Option("PGGSSENCMODE", "disable"),
    # Authentication.
    "require_auth": Option("PGREQUIREAUTH"),
    "channel_binding": Option("PGCHANNELBINDING", "prefer"),
    # The session.
    "min_protocol_version": Option("PGMINPROTOCOLVERSION", "3.0"),
    "max_protocol_version": Option("PGMAXPROTOCOLVERSION", "latest"),
    "client_encoding": Option("PGCLIENTENCODING", "UTF8"),
    "application_name": Option("PGAPPNAME"),
    "fallback_application_name": Option(),
    "options": Option("PGOPTIONS"),
    "replication": Option(),
    # pgproto's own.
    "command_timeout": Option(default="300"),
    "statement_cache_size": Option(default="100"),
    "statement_mode": Option(default="cache_statement"),
    "pipelining": Option(),
    "max_message_size": Option(default=str(2**30 - 2)),
}
"""Every supported option."""

SECRETS: Final = frozenset({"password", "sslpassword"})
"""Options whose value is a secret."""

IGNORED: Final = frozenset({"gssdelegation", "gsslib", "krbsrvname", "sslcompression"})
"""libpq's options for features that pgproto never uses (GSS, TLS compression)."""

UNSUPPORTED: Final[dict[str, str]] = {
    "oauth_client_id": "OAuth is not supported",
    "oauth_client_secret": "OAuth is not supported",
    "oauth_issuer": "OAuth is not supported",
    "oauth_scope": "OAuth is not supported",
    "scram_client_key": "SCRAM keys cannot be passed through",
    "scram_server_key": "SCRAM keys cannot be passed through",
    "sslkeylogfile": "a connection string must not make files",
}
"""libpq's options that pgproto refuses, and why."""

SETTINGS_FROM_ENVIRONMENT: Final[dict[str, str]] = {
    "PGDATESTYLE": "datestyle",
    "PGTZ": "timezone",
    "PGGEQO": "geqo",
}
"""Environment variables that set a run-time parameter of the session."""

MAX_HOSTS: Final = 1000
"""The largest number of hosts: more than anybody needs, so that a longer list must be a mistake."""


@dataclass(frozen=True, slots=True)
class ConninfoOption:
    """One option and its effective value; libpq: PQconninfoOption.

    Args:
        keyword: the option's name.
        variable: the environment variable that sets it; "" for none.
        default: its value if it is not given; "" for none.
        value: its effective value; for a secret `MASK`, or "" if there is none.
        origin: where the value comes from ("the connection string", "the environment", ...); "" for the
            default.
        secret: True if the value must not be shown.
    """

    keyword: str
    variable: str
    default: str
    value: str
    origin: str
    secret: bool


_Text: TypeAlias = str | None
_Number: TypeAlias = int | str | None
_Switch: TypeAlias = bool | int | str | None
_Seconds: TypeAlias = float | str | None
_Secret: TypeAlias = str | Secret | None
AskPassword: TypeAlias = Callable[[], str | Awaitable[str]]
"""A function that returns a password or token, or something to await that does."""
_Password: TypeAlias = _Secret | AskPassword
_Mode: TypeAlias = "str | Mode | None"
_Texts: TypeAlias = str | list[str] | tuple[str, ...] | None
_Numbers: TypeAlias = int | str | list[int] | tuple[int, ...] | None


class Mode(Protocol):
    """What has the name of a statement mode: a `StatementMode`."""

    name: str


def is_utf8(encoding: str) -> bool:
    """True if this is a name of UTF-8; as in the server, only letters and digits count.

    Args:
        encoding: a name, as in `client_encoding`.
    """
    letters = [letter for letter in encoding.lower() if letter.isascii() and letter.isalnum()]
    return "".join(letters) in ("utf8", "unicode")


class ConnectOptions(TypedDict, total=False):
    """The options as keyword arguments, for type checkers; for their meanings see the manual and `Config`.

    None means "not given", except for the two timeouts, where it means "no limit".  For options with several
    values, a list is the same as its items joined by commas.
    """

    service: _Text
    servicefile: _Text
    host: _Texts
    hostaddr: _Texts
    port: _Numbers
    dbname: _Text
    user: _Text
    password: _Password
    passfile: _Text
    target_session_attrs: _Text
    load_balance_hosts: _Text
    connect_timeout: _Seconds
    keepalives: _Switch
    keepalives_idle: _Number
    keepalives_interval: _Number
    keepalives_count: _Number
    tcp_user_timeout: _Number
    requirepeer: _Text
    ssl: SSLContext | None
    sslmode: _Text
    sslnegotiation: _Text
    sslrootcert: _Text
    sslcert: _Text
    sslkey: _Text
    sslpassword: _Secret
    sslcertmode: _Text
    sslcrl: _Text
    sslcrldir: _Text
    sslsni: _Switch
    ssl_min_protocol_version: _Text
    ssl_max_protocol_version: _Text
    gssencmode: _Text
    require_auth: _Texts
    channel_binding: _Text
    min_protocol_version: _Text
    max_protocol_version: _Text
    client_encoding: _Text
    application_name: _Text
    fallback_application_name: _Text
    options: _Text
    replication: _Switch
    command_timeout: _Seconds
    statement_cache_size: _Number
    statement_mode: _Mode
    pipelining: _Switch
    max_message_size: _Number


_HINTS: Final[dict[str, str]] = {
    "database": "dbname",
    "db": "dbname",
    "username": "user",
    "passwd": "password",
    "hostname": "host",
    "server": "host",
    "timeout": "connect_timeout",
    "ssl": "sslmode",
    "encoding": "client_encoding",
    "named_statements": "statement_mode",
}

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,62}", re.ASCII)


def unknown_option(name: str, where: str, known: Collection[str] = tuple(OPTIONS)) -> ConfigError:
    """The error for an unknown option.

    Args:
        name: the option.  The text names it only if it looks like an option, because it may be a part of a
            password that was not quoted.
        where: where it was found, as the start of the text.
        known: the names to suggest from.
    """
    if not _IDENTIFIER.fullmatch(name):
        return ConfigError(f"{where}: a keyword that is no option")
    if name in UNSUPPORTED:
        return ConfigError(f"{where}: {name} is not supported: {UNSUPPORTED[name]}")
    from difflib import get_close_matches  # imported here, because only errors need it

    similar = _HINTS.get(name.lower()) or next(iter(get_close_matches(name.lower(), known, 1)), "")
    if similar in known:
        return ConfigError(f"{where}: unknown option {name!r}; did you mean {similar!r}?")
    return ConfigError(
        f"{where}: unknown option {name!r};"
        " run-time parameters of the server belong into server_settings or options"
    )
