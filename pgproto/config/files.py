"""Parses the service file and the password file.

Nothing here opens a file.  The caller passes a reader, `read_file(path) -> FileText | None`; None means that
there is no such file, or that it cannot be read.  Manual: "The Connection Service File", "The Password File".

Rule: the text of these files is secret.  Errors name the file and the line, but do not quote the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ..errors import ConfigError
from .options import IGNORED, OPTIONS, unknown_option
from .secret import Secret

__all__ = [
    "SOCKET_DIRECTORIES",
    "FileText",
    "PasswordEntry",
    "ReadFile",
    "find_password",
    "home_file",
    "is_private",
    "parse_passfile",
    "parse_service_file",
]

SOCKET_DIRECTORIES: Final = frozenset({"/tmp", "/run/postgresql", "/var/run/postgresql"})  # noqa: S108
"""The default socket directories of servers; the password file calls a socket there `localhost`."""

_SPACE: Final = " \t\n\v\f\r"


@dataclass(frozen=True, slots=True)
class FileText:
    """A file that was read.

    Args:
        text: its content, decoded from UTF-8 with "surrogateescape".
        mode: its permission bits, as in `os.stat(path).st_mode`; 0o600 if the system has none.
        is_regular: True for a plain file, False for a directory, FIFO, device (its text is not used).
        uid: the user ID of its owner; None if the system has none.
    """

    text: str = field(repr=False)
    mode: int = 0o600
    is_regular: bool = True
    uid: int | None = None


ReadFile: TypeAlias = Callable[[str], FileText | None]
"""Reads a file by its path; None if it does not exist or cannot be read."""


def is_private(file: FileText, *, group_may_read_roots: bool = False) -> bool:
    """True if only its owner can read or change the file.

    Args:
        file: the file.
        group_may_read_roots: True if a file of root may be readable by its group (a server's key, 0640).
    """
    allowed = 0o740 if group_may_read_roots and file.uid == 0 else 0o700
    return file.mode & 0o777 & ~allowed == 0


def home_file(environ: Mapping[str, str], name: str) -> str:
    """The path of one of libpq's files in the user's directory, "" if there is no such directory.

    Args:
        environ: the environment: `HOME`, or `APPDATA` on Windows.
        name: `pgpass`, `pg_service.conf`, or a file of the `.postgresql` directory as `postgresql/...`.
    """
    if home := environ.get("HOME"):
        return f"{home}/.{name}"
    if roaming := environ.get("APPDATA"):
        directory = f"{roaming}/postgresql"
        if name == "pgpass":
            return f"{directory}/pgpass.conf"
        return f"{directory}/{name.removeprefix('postgresql/')}" if "/" in name else f"{directory}/.{name}"
    return ""


# --- service file ------------------------------------------------------------------------------------


def parse_service_file(text: str, service: str, path: str) -> dict[str, str] | None:
    """The options of one service.

    Args:
        text: the text of the file.
        service: the name of the section.
        path: the name of the file, for errors.

    Returns:
        The section's options, of which the first of each name wins; None if there is no such section.

    Raises:
        ConfigError: the section has a line that is not an option.
    """
    options: dict[str, str] | None = None
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip(_SPACE)
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            if options is not None:
                return options
            if line.startswith(f"[{service}]"):
                options = {}
            continue
        if options is None:
            continue
        where = f"service file {path!r}, line {number}"
        name, equals, value = line.partition("=")
        if not equals:
            reason = "LDAP look-up is not supported" if line.startswith("ldap") else 'missing "="'
            raise ConfigError(f"{where}: {reason}")
        if name in ("service", "servicefile"):
            raise ConfigError(f"{where}: a service cannot refer to another service")
        if name in IGNORED:
            continue
        if name not in OPTIONS:
            raise unknown_option(name, where)
        options.setdefault(name, value)
    return options


# --- password file -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PasswordEntry:
    """One line of the password file; None is the wildcard `*`."""

    host: str | None
    port: str | None
    database: str | None
    user: str | None
    password: Secret | None

    def matches(self, host: str, port: str, database: str, user: str) -> bool:
        """True if the line applies to this connection."""
        return (
            self.host in (None, host)
            and self.port in (None, port)
            and self.database in (None, database)
            and self.user in (None, user)
        )


def parse_passfile(text: str) -> tuple[PasswordEntry, ...]:
    r"""The entries of a password file, in order: `host:port:database:user:password`.

    `\:` and `\\` stand for the character itself.  A line with fewer fields, or with a password that cannot
    be written in UTF-8, matches nothing.
    """
    entries: list[PasswordEntry] = []
    for line in text.split("\n"):
        line = line.removesuffix("\r")
        if line.startswith("#"):
            continue
        fields = _split(line)
        if len(fields) < 5 or any("\ud800" <= character <= "\udfff" for character in line):
            continue
        host, port, database, user = (None if raw == "*" else _unescape(raw) for raw in fields[:4])
        entries.append(PasswordEntry(host, port, database, user, Secret.of(_unescape(fields[4]))))
    return tuple(entries)


def _split(line: str) -> list[str]:
    """Split the line at its unescaped colons; the parts are still escaped."""
    fields: list[str] = []
    start = position = 0
    while position < len(line):
        if line[position] == "\\":
            position += 1
        elif line[position] == ":":
            fields.append(line[start:position])
            start = position + 1
        position += 1
    fields.append(line[start:])
    return fields


def _unescape(raw: str) -> str:
    if "\\" not in raw:
        return raw
    text: list[str] = []
    position = 0
    while position < len(raw):
        if raw[position] == "\\" and position + 1 < len(raw):
            position += 1
        text.append(raw[position])
        position += 1
    return "".join(text)


def find_password(
    entries: Iterable[PasswordEntry], host: str, port: int, database: str, user: str
) -> Secret | None:
    """The password of the first matching entry; None if there is none, or it is empty.

    Args:
        entries: from `parse_passfile`.
        host: the host name, address or socket directory; a default socket directory is `localhost`.
        port: the port.
        database: the database.
        user: the user.
    """
    name = "localhost" if host in SOCKET_DIRECTORIES else host
    for entry in entries:
        if entry.matches(name, str(port), database, user):
            return entry.password
    return None
