"""`Conninfo`, and what a connection string means: the `Config` of a connection and the values in use."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from psycopg import errors as e
from psycopg.pq.misc import ConninfoOption

from pgproto.config import Config, conninfo_options, parse_config
from pgproto.config.options import SETTINGS_FROM_ENVIRONMENT
from pgproto.errors import ConfigError
from pgproto_sockets.environment import read_file

from . import dsn, options
from .dsn import ConninfoError

__all__ = ["Conninfo", "configure", "understand"]

_SOCKET_DIRECTORIES: Final = ("/var/run/postgresql", "/tmp")  # noqa: S108 - of Debian, and libpq's own

_CHOICES: Final = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "sslcertmode": ("disable", "allow", "require"),
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer", "require"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "load_balance_hosts": ("disable", "random"),
    "min_protocol_version": ("3.0", "3.2", "latest"),
    "max_protocol_version": ("3.0", "3.2", "latest"),
}

_INTEGERS: Final = (
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
)

# Options that change what is sent or written, and which pgproto does not have.
_MISSING: Final = ("scram_client_key", "scram_server_key", "sslkeylogfile")

# What libpq does where pgproto has defaults of its own: the system's keepalives, no limits, protocol 3.0.
_AS_LIBPQ: Final = {
    "connect_timeout": "0",
    "keepalives_idle": "0",
    "keepalives_interval": "0",
    "keepalives_count": "0",
    "tcp_user_timeout": "0",
    "max_protocol_version": "3.0",
}


class Conninfo:
    """Connection strings and their options.  psycopg: `psycopg.pq.Conninfo`."""

    @classmethod
    def get_defaults(cls) -> list[ConninfoOption]:
        """The options with their defaults in this environment; libpq: PQconndefaults."""
        return options.rows(options.defaults())

    @classmethod
    def parse(cls, conninfo: bytes) -> list[ConninfoOption]:
        """The options, with the values of those that a connection string has; libpq: PQconninfoParse.

        Args:
            conninfo: the connection string.

        Raises:
            TypeError: it is not bytes.
            OperationalError: it cannot be parsed.
        """
        if not isinstance(conninfo, bytes):
            raise TypeError(f"expected bytes, {type(conninfo).__name__} found")
        try:
            return options.rows(dsn.parse(conninfo.decode("utf-8", "surrogateescape")))
        except ConninfoError as error:
            raise e.OperationalError(str(error)) from None

    @classmethod
    def _options_from_array(cls, opts: Sequence[Any]) -> list[ConninfoOption]:
        return list(opts)


def understand(conninfo: bytes) -> dict[str, str]:
    """The values in use: those of a connection string, the service file, the environment, the defaults.

    Args:
        conninfo: the connection string.

    Raises:
        ConninfoError: it cannot be parsed, or the service is not there.
    """
    values = _values(dsn.parse(conninfo.decode("utf-8", "surrogateescape")))
    if not values.get("user"):
        values["user"] = options.os_user()
    values["dbname"] = values.get("dbname") or values["user"]
    if values.get("sslrootcert") == "system" and "sslmode" not in values:
        values["sslmode"] = "verify-full"
    values.setdefault("sslcertmode", "allow")
    return values


def configure(values: Mapping[str, str]) -> Config:
    """How to connect.

    Args:
        values: from `understand`.

    Raises:
        ConninfoError: a value cannot be used.
    """
    _check(values)
    known = {name: value for name, value in values.items() if name in _PASSED}
    encoding = known.pop("client_encoding", "")
    for name, value in _AS_LIBPQ.items():
        known[name] = known.get(name) or value
    if known["max_protocol_version"] == "3.0" and known.get("min_protocol_version") in ("3.2", "latest"):
        known["max_protocol_version"] = "latest"
    if not known.get("host") and not known.get("hostaddr"):
        known["host"] = _socket_directory()
    arguments: Any = known
    settings = {
        name: os.environ[variable]
        for variable, name in SETTINGS_FROM_ENVIRONMENT.items()
        if os.environ.get(variable, "default").lower() != "default"
    }
    try:
        config = parse_config(
            environ=_files_only(), read_file=read_file, server_settings=settings, **arguments
        )
        return config.replace(client_encoding="UTF8" if encoding == "auto" else encoding)
    except ConfigError as error:
        raise ConninfoError(f"{error}\n") from None


# What `parse_config` takes.
_PASSED: Final = options.KEYWORDS - {
    *("service", "gssdelegation", "gsslib", "krbsrvname", "sslcompression"),
    *("oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope"),
    *_MISSING,
}


def _files_only() -> dict[str, str]:
    """The environment without the options: they are in the values already.  Files are found by the rest."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _values(given: Mapping[str, str]) -> dict[str, str]:
    """The values in use: those given, then the service file's, the environment's and the compiled ones."""
    values = options.defaults()
    service = given.get("service") or values.get("service")
    if service:
        arguments: Any = {"service": service}
        try:
            for found in conninfo_options(environ=_files_and_service(), read_file=read_file, **arguments):
                if found.origin == "the service file" and not found.secret:
                    values[found.keyword] = found.value
        except ConfigError as error:
            raise ConninfoError(f"{error}\n") from None
        values.update(_service_secrets(service))
    values.update(given)
    return values


def _files_and_service() -> dict[str, str]:
    kept = ("PGSERVICEFILE", "PGSYSCONFDIR")
    return {**_files_only(), **{name: os.environ[name] for name in kept if name in os.environ}}


def _service_secrets(service: str) -> dict[str, str]:
    """The service file's password, which `conninfo_options` does not show."""
    config = parse_config(
        environ=_files_and_service(), read_file=read_file, os_user=lambda: "anybody", service=service
    )
    return {"password": config.password.reveal()} if config.password is not None else {}


def _check(values: Mapping[str, str]) -> None:
    """Refuse what libpq refuses, with its texts."""
    for name, choices in _CHOICES.items():
        value = values.get(name)
        if value and value not in choices:
            raise ConninfoError(f'invalid {name} value: "{value}"\n')
    for name in _INTEGERS:
        value = values.get(name)
        if value and not _is_integer(value):
            raise ConninfoError(
                f'invalid integer value "{value}" for connection option "{name}"\n', late=True
            )
    if values.get("gssencmode") == "require":
        raise ConninfoError(
            'gssencmode value "require" invalid when GSSAPI support is not compiled in\n', late=True
        )
    for name in _MISSING:
        if values.get(name):
            raise ConninfoError(f'connection option "{name}" is not supported by pgproto\n')
    _check_ports(values)


def _check_ports(values: Mapping[str, str]) -> None:
    hosts = (values.get("hostaddr") or values.get("host") or "").split(",")
    names, ports = values.get("host", "").split(","), values.get("port", "").split(",")
    if values.get("host") and values.get("hostaddr") and len(names) != len(hosts):
        raise ConninfoError(f"could not match {len(names)} host names to {len(hosts)} hostaddr values\n")
    if len(ports) not in (1, len(hosts)):
        raise ConninfoError(f"could not match {len(ports)} port numbers to {len(hosts)} hosts\n")
    for port in filter(None, ports):
        if not _is_integer(port):
            raise ConninfoError(f'invalid integer value "{port}" for connection option "port"\n', late=True)
        if not 1 <= int(port) <= 65535:
            raise ConninfoError(f'invalid port number: "{port}"\n', late=True)


def _is_integer(text: str) -> bool:
    digits = text.strip().removeprefix("-").removeprefix("+")
    return digits.isascii() and digits.isdigit() and len(digits) <= 10


def _socket_directory() -> str:
    """Libpq's default host: the directory of the unix sockets, where there are any."""
    if os.name != "posix":
        return "localhost"
    return next((path for path in _SOCKET_DIRECTORIES if os.path.isdir(path)), _SOCKET_DIRECTORIES[-1])
