"""Keyword arguments, connection string, service file, environment, defaults -> one Config.

Rule: for each option the first of these sources that has it wins, as in libpq; an empty text counts as given
and means the default.  Rule: nothing is looked up unnecessarily: no file before the allow-list was checked,
and no user of the operating system if a user is given.

Errors name the option and its source, and say what is expected.  They do not quote the value, because a
connection string that was split in the wrong place can put a password anywhere.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Final, Unpack

from ..errors import MASK, ConfigError
from .config import (
    CHANNEL_BINDINGS,
    CONTEXT_HAS,
    LOAD_BALANCE_HOSTS,
    PROTOCOL_VERSIONS,
    SSLMODES,
    SSLNEGOTIATIONS,
    STATEMENT_MODES,
    TARGET_SESSION_ATTRS,
    TLS_VERSIONS,
    Config,
    Host,
    TLSOptions,
)
from .dsn import check_text, parse_dsn
from .files import PasswordEntry, ReadFile, home_file, is_private, parse_passfile, parse_service_file
from .options import (
    MAX_HOSTS,
    OPTIONS,
    SECRETS,
    SETTINGS_FROM_ENVIRONMENT,
    ConnectOptions,
    ConninfoOption,
    is_utf8,
    unknown_option,
)
from .secret import Secret

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["conninfo_options", "parse_config"]

_LISTS: Final = frozenset({"host", "hostaddr", "port", "require_auth"})
_TIMEOUTS: Final = frozenset({"connect_timeout", "command_timeout"})
_INTEGER: Final = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]{1,10})[ \t\n\v\f\r]*", re.ASCII)
_NUMBER: Final = re.compile(r"[ \t]*([+-]?[0-9]{1,10}(?:\.[0-9]*)?(?:[eE]-?[0-9]{1,2})?)[ \t]*", re.ASCII)
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "true", "on", "yes"), True),
    **dict.fromkeys(("0", "false", "off", "no"), False),
}
_REPLICATION: Final = ("", *_BOOLEANS, "database")
_RESERVED_SETTINGS: Final = frozenset({"user", "database", "replication"})
_SYSTEM_DIRECTORY: Final = "/etc/postgresql-common"
"""The directory of pg_service.conf on Debian; on other systems set PGSYSCONFDIR."""


def parse_config(
    dsn: str | Config | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    read_file: ReadFile | None = None,
    os_user: Callable[[], str] | None = None,
    server_settings: Mapping[str, str] | None = None,
    allowed_keys: Collection[str] | None = None,
    **options: Unpack[ConnectOptions],
) -> Config:
    """Make a Config from all sources.

    Args:
        dsn: a connection string: a URI or `keyword=value` pairs.  Or a Config, which is returned as it is: it
            takes no options.
        environ: the environment (`PGHOST`, `PGSERVICE`, `HOME`, ...); None for an empty one.
        read_file: reads the service file and the password file, and finds libpq's default certificates.
            None: no file is used.
        os_user: returns the name of the operating system's user; called only if no user is given.
        server_settings: run-time parameters to set for the session, by name.
        allowed_keys: the options that `dsn` may have, if it comes from an untrusted source; checked before
            any file is read.  It does not apply to keyword arguments.
        **options: options by libpq's names or pgproto's own, see `ConnectOptions`; they override `dsn`.

    Returns:
        The configuration.

    Raises:
        ConfigError: an option is unknown, not allowed, or has a wrong value, or a file that was named cannot
            be used.
    """
    if isinstance(dsn, Config):
        if options or server_settings is not None:
            raise ConfigError("a Config takes no options: change it with Config.replace()")
        return dsn
    environ = {} if environ is None else environ
    asked = options.get("password")
    ask_password = asked if callable(asked) else None
    if ask_password is not None:
        options["password"] = None
    context = options.pop("ssl", None)
    settings = _settings(dsn, options, environ, read_file, allowed_keys)
    settings.choice("gssencmode", ("disable", "prefer"))
    encoding = settings.text("client_encoding")
    if encoding != "auto" and not is_utf8(encoding):
        raise settings.error("client_encoding", "must be UTF8")
    user = settings.text("user") or _ask_user(os_user)
    hosts = _hosts(settings)
    password = None if ask_password is not None else Secret.of(settings.text("password"))
    own = password is not None or ask_password is not None
    entries, warnings = ((), ()) if own else _read_passfile(settings, environ, read_file)
    return Config(
        user=user,
        database=settings.text("dbname") or user,
        hosts=hosts,
        password=password,
        passfile=entries,
        application_name=settings.text("application_name") or settings.text("fallback_application_name"),
        options=settings.text("options"),
        server_settings=_server_settings(server_settings, environ),
        replication=settings.choice("replication", _REPLICATION),
        connect_timeout=settings.seconds("connect_timeout"),
        command_timeout=settings.seconds("command_timeout"),
        tls=_tls(settings, hosts, environ, read_file) if context is None else _tls_of(settings, context),
        require_auth=settings.text("require_auth"),
        channel_binding=settings.choice("channel_binding", CHANNEL_BINDINGS),
        requirepeer=settings.text("requirepeer"),
        target_session_attrs=settings.choice("target_session_attrs", TARGET_SESSION_ATTRS),
        load_balance_hosts=settings.choice("load_balance_hosts", LOAD_BALANCE_HOSTS),
        min_protocol_version=PROTOCOL_VERSIONS[
            settings.choice("min_protocol_version", tuple(PROTOCOL_VERSIONS))
        ],
        max_protocol_version=PROTOCOL_VERSIONS[
            settings.choice("max_protocol_version", tuple(PROTOCOL_VERSIONS))
        ],
        keepalives=settings.boolean("keepalives"),
        keepalives_idle=settings.count("keepalives_idle"),
        keepalives_interval=settings.count("keepalives_interval"),
        keepalives_count=settings.count("keepalives_count"),
        tcp_user_timeout=settings.count("tcp_user_timeout"),
        tcp_user_timeout_given=bool(settings.given("tcp_user_timeout")[0]),
        statement_cache_size=settings.integer("statement_cache_size", 0, 1_000_000),
        statement_mode=settings.choice("statement_mode", STATEMENT_MODES),
        pipelining=settings.boolean("pipelining") if settings.given("pipelining")[0] else None,
        max_message_size=settings.integer("max_message_size", 1024, 2**31 - 1),
        warnings=warnings,
        ask_password=ask_password,
    )


def conninfo_options(
    dsn: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    read_file: ReadFile | None = None,
    os_user: Callable[[], str] | None = None,
    **options: Unpack[ConnectOptions],
) -> list[ConninfoOption]:
    """Every option with its effective value and the source of that: libpq's PQconninfo.

    Without `dsn` and keyword arguments they are the defaults in this environment: PQconndefaults.
    The values are not checked; `parse_config` does that.

    Args:
        dsn: as for `parse_config`, like the other arguments.
        environ: the environment.
        read_file: reads the service file.
        os_user: returns the name of the operating system's user, for `user` if it is not given.
        **options: options by name.

    Returns:
        The options, in the order of `OPTIONS`.

    Raises:
        ConfigError: the connection string cannot be parsed, or an option in it is unknown.
    """
    settings = _settings(dsn, options, {} if environ is None else environ, read_file, None)
    derived = {"user": _known_user(os_user)}
    derived["dbname"] = settings.text("user") or derived["user"]
    if settings.text("sslrootcert") == "system":
        derived["sslmode"] = "verify-full"
    found: list[ConninfoOption] = []
    for name, option in OPTIONS.items():
        given, origin = settings.given(name)
        value = given or derived.get(name, option.default)
        secret = name in SECRETS
        shown = MASK if secret and value else value
        origin = origin if given else ""
        found.append(ConninfoOption(name, option.variable, option.default, shown, origin, secret))
    return found


# --- where an option comes from ----------------------------------------------------------------------


def _settings(
    dsn: str | None,
    options: ConnectOptions,
    environ: Mapping[str, str],
    read_file: ReadFile | None,
    allowed_keys: Collection[str] | None,
) -> _Settings:
    """The sources of options, in the order of precedence."""
    layers: list[tuple[str, Mapping[str, str]]] = [("a keyword argument", _from_keywords(options))]
    in_dsn = {} if dsn is None else parse_dsn(_text("connection string", dsn))
    if allowed_keys is not None:
        _check_allowed(in_dsn, allowed_keys)
    layers.append(("the connection string", in_dsn))
    settings = _Settings([*layers, ("the environment", _from_environment(environ))])
    if service := settings.text("service"):
        found = _read_service(service, settings.text("servicefile"), environ, read_file)
        layers.append(("the service file", found))
        settings = _Settings([*layers, ("the environment", _from_environment(environ))])
    return settings


class _Settings:
    """The sources of options; returns an option's value from the first source that has it, converted."""

    __slots__ = ("_layers",)

    def __init__(self, layers: list[tuple[str, Mapping[str, str]]]) -> None:
        self._layers = layers

    def given(self, name: str) -> tuple[str, str]:
        """The text and its source; ("", "") if the option has its default."""
        for origin, layer in self._layers:
            if name in layer:
                return layer[name], origin
        return "", ""

    def text(self, name: str) -> str:
        """The option, or its default."""
        return self.given(name)[0] or OPTIONS[name].default

    def error(self, name: str, message: str) -> ConfigError:
        origin = self.given(name)[1]
        if origin == "the environment":
            origin = f"the environment variable {OPTIONS[name].variable}"
        return ConfigError(f"{name}{f' (from {origin})' if origin else ''}: {message}")

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        value = self.text(name)
        if value not in choices:
            raise self.error(name, f"expected one of {', '.join(filter(None, choices))}")
        return value

    def integer(self, name: str, lowest: int, highest: int) -> int:
        return self.integer_in(name, self.text(name), lowest, highest)

    def integer_in(self, name: str, text: str, lowest: int, highest: int) -> int:
        match = _INTEGER.fullmatch(text)
        if match is None or not lowest <= int(match[1]) <= highest:
            raise self.error(name, f"expected a whole number from {lowest} to {highest}")
        return int(match[1])

    def count(self, name: str) -> int | None:
        """A number for a socket option; None for the system's default if it is zero or less, as in libpq."""
        value = self.integer(name, -(2**31), 2**31 - 1)
        return value if value > 0 else None

    def boolean(self, name: str) -> bool:
        value = _BOOLEANS.get(self.text(name).strip().lower())
        if value is None:
            raise self.error(name, "expected 1 or 0")
        return value

    def seconds(self, name: str) -> float | None:
        """A time limit; None for no limit if it is zero or less, as in libpq."""
        match = _NUMBER.fullmatch(self.text(name))
        if match is None:
            raise self.error(name, "expected a number of seconds")
        value = float(match[1])
        return value if value > 0 else None


def _text(name: str, value: object) -> str:
    """A keyword argument as a text."""
    if name == "statement_mode":
        value = getattr(value, "name", value)  # a StatementMode
    if isinstance(value, Secret):
        text = value.reveal()
    elif isinstance(value, str):
        text = value
    elif isinstance(value, bool):
        text = str(int(value))
    elif isinstance(value, int | float):
        try:
            text = str(value)
        except ValueError:  # an int with more digits than Python converts
            text = ""
        if not text:
            raise ConfigError(f"{name}: expected a smaller number")
    elif isinstance(value, list | tuple) and name in _LISTS:
        text = ",".join([_text("an item", item) for item in value])
    else:
        raise ConfigError(f"{name}: expected text or a number, not {type(value).__name__}")
    check_text(name, text)
    return text


def _from_keywords(options: Mapping[str, object]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, value in options.items():
        if name not in OPTIONS:
            raise unknown_option(name, "keyword arguments")
        if value is not None:
            texts[name] = _text(name, value)
        elif name in _TIMEOUTS:
            texts[name] = "0"
    return texts


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    if environ.get("PGREQUIRESSL", "").startswith("1"):
        texts["sslmode"] = "require"
    for name, option in OPTIONS.items():
        if option.variable and option.variable in environ:
            texts[name] = environ[option.variable]
            check_text(f"the environment variable {option.variable}", texts[name])
    return texts


def _check_allowed(in_dsn: Mapping[str, str], allowed_keys: Collection[str]) -> None:
    if isinstance(allowed_keys, str):
        raise ConfigError("allowed_keys: expected a collection of names, not one text")
    for name in allowed_keys:
        if name not in OPTIONS:
            raise unknown_option(name, "allowed_keys")
    for name, value in in_dsn.items():
        implicit = name == "port" and not value.strip(",")  # set by a URI with several hosts
        if name not in allowed_keys and not implicit:
            raise ConfigError(f"connection string: the option {name!r} is not allowed here")


def _known_user(os_user: Callable[[], str] | None) -> str:
    """The operating system's user; "" if it is not known."""
    try:
        return os_user() if os_user is not None else ""
    except (OSError, LookupError):  # from getpass.getuser(), by Python version
        return ""


def _ask_user(os_user: Callable[[], str] | None) -> str:
    reason = ""
    user = ""
    if os_user is not None:
        try:
            user = os_user()
        except (OSError, LookupError) as error:  # from getpass.getuser(), by Python version
            reason = f" ({type(error).__name__})"
    if not user:
        raise ConfigError(f"user: none is given, and the operating system's is not known{reason}")
    return user


def _server_settings(given: object, environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    settings: dict[str, str] = {}
    for variable, name in SETTINGS_FROM_ENVIRONMENT.items():
        value = environ.get(variable, "")
        if value and value.lower() != "default":
            settings[name] = value
    if given is None:
        return tuple(settings.items())
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"server_settings: expected a mapping of names to texts, not {type(given).__name__}"
        )
    for name, value in given.items():
        if not isinstance(name, str):
            raise ConfigError(f"server_settings: a name must be text, not {type(name).__name__}")
        folded = name.lower()
        if not name or folded in _RESERVED_SETTINGS or folded.startswith("_pq_."):
            raise ConfigError(f"server_settings: {name!r} is not a run-time parameter")
        if not isinstance(value, str):
            raise ConfigError(f"server_settings: {name}: expected text")
        settings.pop(folded, None)
        settings[name] = value
    return tuple(settings.items())


# --- hosts -------------------------------------------------------------------------------------------


def _hosts(settings: _Settings) -> tuple[Host, ...]:
    """The hosts with their addresses and ports: lists of equal length, or one port for all."""
    names = settings.given("host")[0].split(",")
    addresses = settings.given("hostaddr")[0].split(",")
    ports = settings.given("port")[0].split(",")
    for name, texts in (("host", names), ("hostaddr", addresses), ("port", ports)):
        if len(texts) > MAX_HOSTS:
            raise settings.error(name, f"at most {MAX_HOSTS} are possible")
    if addresses == [""]:
        addresses *= len(names)
    elif names == [""]:
        names *= len(addresses)
    elif len(names) != len(addresses):
        message = f"could not match {len(names)} host names to {len(addresses)} hostaddr values"
        raise settings.error("hostaddr", message)
    if len(ports) == 1:
        ports *= len(names)
    elif len(ports) != len(names):
        raise settings.error("port", f"could not match {len(ports)} port numbers to {len(names)} hosts")
    hosts: list[Host] = []
    for name, address, port in zip(names, addresses, ports, strict=True):
        if address and not _is_address(address):
            raise settings.error("hostaddr", "expected an IP address")
        number = settings.integer_in("port", port or OPTIONS["port"].default, 1, 65535)
        hosts.append(Host(name if name or address else OPTIONS["host"].default, address, number))
    return tuple(hosts)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


# --- files -------------------------------------------------------------------------------------------


def _read_service(
    service: str, path: str, environ: Mapping[str, str], read_file: ReadFile | None
) -> dict[str, str]:
    if read_file is None:
        raise ConfigError("service: cannot be used without a way to read files")
    system = environ.get("PGSYSCONFDIR") or _SYSTEM_DIRECTORY
    for candidate in (path or home_file(environ, "pg_service.conf"), f"{system}/pg_service.conf"):
        file = read_file(candidate) if candidate else None
        if file is None or not file.is_regular:
            if path and candidate == path:
                raise ConfigError(f"service file {path!r} not found")
            continue
        options = parse_service_file(file.text, service, candidate)
        if options is not None:
            for name, value in options.items():
                check_text(f"service file {candidate!r}: {name}", value)
            return options
    raise ConfigError(f"definition of service {service!r} not found")


def _read_passfile(
    settings: _Settings, environ: Mapping[str, str], read_file: ReadFile | None
) -> tuple[tuple[PasswordEntry, ...], tuple[str, ...]]:
    """The entries of the password file, and the warning if it was ignored."""
    path = settings.text("passfile") or home_file(environ, "pgpass")
    file = read_file(path) if read_file is not None and path else None
    if file is None:
        return (), ()
    if not file.is_regular:
        return (), (f"password file {path!r} is not a plain file; it was ignored",)
    if not is_private(file):
        hint = "permissions should be u=rw (0600) or less"
        return (), (f"password file {path!r} has group or world access; {hint}; it was ignored",)
    return parse_passfile(file.text), ()


# --- TLS ---------------------------------------------------------------------------------------------


def _tls(
    settings: _Settings, hosts: tuple[Host, ...], environ: Mapping[str, str], read_file: ReadFile | None
) -> TLSOptions:
    sslmode = settings.choice("sslmode", SSLMODES)
    rootcert = settings.text("sslrootcert")
    if rootcert == "system" and not settings.given("sslmode")[0]:
        sslmode = "verify-full"
    remote = [host for host in hosts if not host.is_unix] if sslmode != "disable" else []

    def path(name: str, default: str) -> str | None:
        """The option, else libpq's default file if TLS can be used and the file exists."""
        if given := settings.text(name):
            return given
        candidate = home_file(environ, f"postgresql/{default}")
        there = remote and candidate and read_file is not None and read_file(candidate) is not None
        return candidate if there else None

    cert = key = None
    if settings.choice("sslcertmode", ("disable", "allow")) == "allow":
        cert = path("sslcert", "postgresql.crt")
        key = path("sslkey", "postgresql.key") if cert else None
    if key and remote and read_file is not None:
        file = read_file(key)
        if file is not None and not (file.is_regular and is_private(file, group_may_read_roots=True)):
            raise ConfigError(
                f"sslkey: file {key!r} must be a plain file with permissions u=rw (0600) or less,"
                " or u=rw,g=r (0640) or less if owned by root"
            )
    options = TLSOptions(
        sslmode=sslmode,
        sslnegotiation=settings.choice("sslnegotiation", SSLNEGOTIATIONS),
        sslrootcert=path("sslrootcert", "root.crt"),
        sslcert=cert,
        sslkey=key,
        sslpassword=Secret.of(settings.text("sslpassword")),
        sslcrl=path("sslcrl", "root.crl"),
        sslcrldir=settings.text("sslcrldir") or None,
        sslsni=settings.boolean("sslsni"),
        ssl_min_protocol_version=_tls_version(settings, "ssl_min_protocol_version"),
        ssl_max_protocol_version=_tls_version(settings, "ssl_max_protocol_version"),
    )
    if remote and sslmode.startswith("verify") and options.sslrootcert is None:
        raise settings.error("sslmode", f'{sslmode} needs sslrootcert: a file with trusted CAs, or "system"')
    if sslmode == "verify-full" and not all(host.host for host in remote):
        raise settings.error("sslmode", "verify-full needs the name of each host, not only its hostaddr")
    return options


def _tls_of(settings: _Settings, context: SSLContext) -> TLSOptions:
    """The policy with a context of the caller's, which is never used without TLS."""
    for name in CONTEXT_HAS:
        if settings.given(name)[0]:
            raise settings.error(name, "cannot be combined with ssl, whose context has this")
    return TLSOptions(
        sslmode=settings.choice("sslmode", SSLMODES) if settings.given("sslmode")[0] else "require",
        sslnegotiation=settings.choice("sslnegotiation", SSLNEGOTIATIONS),
        sslsni=settings.boolean("sslsni"),
        context=context,
    )


def _tls_version(settings: _Settings, name: str) -> str | None:
    text = settings.text(name)
    if not text:
        return None
    for version in TLS_VERSIONS:
        if version.lower() == text.lower():
            return version
    raise settings.error(name, f"expected one of {', '.join(TLS_VERSIONS)}")
