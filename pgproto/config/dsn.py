"""Connection strings -> options, by libpq's grammar.

A connection string is a URI (`postgresql://` or `postgres://`) or a list of `keyword = value` pairs.  The
result is a dict of texts; their meaning is decided in `parse`.  Manual: "Connection Strings".

Rule: an error never quotes any part of the string, because any part may belong to a password that was not
escaped; an option is named only if that is impossible.

Differences from libpq, each of them stricter:
- an unescaped `@` in a URI's host, or in its path if the URI has no user, is refused: it probably belongs
  to a password whose `@` or `/` was not escaped, and the host name would appear in messages;
- text that is not UTF-8 after percent-decoding is refused;
- NUL is refused (a C string cannot contain it);
- options that pgproto does not support are refused, even if libpq knows them (`options.UNSUPPORTED`).
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from ..errors import ConfigError
from .options import IGNORED, MAX_HOSTS, OPTIONS, SECRETS, unknown_option

__all__ = ["check_text", "parse_dsn"]

_WHERE: Final = "connection string"
_SCHEMES: Final = ("postgresql://", "postgres://")
_SPACE: Final = " \t\n\v\f\r"
"""The characters of C's isspace(), which are fewer than those of str.isspace()."""

_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST_END: Final = re.compile(r"[:/?,]")
_PORT_END: Final = re.compile(r"[/?,]")
_OTHER_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def parse_dsn(dsn: str) -> dict[str, str]:
    """Split a connection string into its options.

    Args:
        dsn: a URI or `keyword = value` pairs; "" has no options.

    Returns:
        The options by libpq's names, percent-decoded and unquoted.  An empty value is kept: it means "the
        default", and overrides the environment.  `ssl=true` and `requiressl` become `sslmode`.

    Raises:
        ConfigError: the string cannot be parsed, or has an unknown option.
    """
    check_text(_WHERE, dsn)
    for scheme in _SCHEMES:
        if dsn.startswith(scheme):
            return _parse_uri(dsn[len(scheme) :])
    if _OTHER_SCHEME.match(dsn):
        raise ConfigError(f"{_WHERE}: the scheme of a URI must be postgresql:// or postgres://")
    return _parse_pairs(dsn)


def check_text(where: str, text: str) -> None:
    """Refuse a text that cannot be a C string in UTF-8, as the protocol and the system require.

    Args:
        where: the name of the text, for the error.
        text: the text, which the error does not quote.
    """
    if "\0" in text:
        raise ConfigError(f"{where}: contains a NUL character")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ConfigError(f"{where}: contains a character that UTF-8 cannot express (a lone surrogate)")


def _store(options: dict[str, str], name: str, value: str, *, may_be_secret: bool, hint: str) -> None:
    """Store an option; the last value given wins."""
    if name == "requiressl":
        name, value = "sslmode", "require" if value.startswith("1") else "prefer"
    if name in IGNORED:
        return
    if name not in OPTIONS:
        raise ConfigError(f"{_WHERE}: {hint}") if may_be_secret else unknown_option(name, _WHERE)
    options[name] = value


# --- keyword = value ---------------------------------------------------------------------------------


def _parse_pairs(text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    position, end = 0, len(text)
    bare_secret = False  # an unquoted secret came before: the text after it may belong to it
    hint = "an unknown keyword follows an unquoted password; a value with spaces needs single quotes"
    while True:
        position = _skip_space(text, position)
        if position == end:
            return options
        start = position
        while position < end and text[position] != "=" and text[position] not in _SPACE:
            position += 1
        name = text[start:position]
        position = _skip_space(text, position)
        if position == end or text[position] != "=":
            raise ConfigError(
                f'{_WHERE}: missing "=" after the keyword at character {start + 1};'
                " expected a URI (postgresql://...) or keyword=value pairs"
            )
        position = _skip_space(text, position + 1)
        quoted = position < end and text[position] == "'"
        value, position = _quoted(text, position + 1) if quoted else _bare(text, position)
        _store(options, name, value, may_be_secret=bare_secret, hint=hint)
        bare_secret |= name in SECRETS and not quoted


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return position


def _bare(text: str, position: int) -> tuple[str, int]:
    """A value up to the next space; a backslash escapes the next character."""
    value: list[str] = []
    while position < len(text) and text[position] not in _SPACE:
        if text[position] == "\\":
            position += 1
        value.append(text[position : position + 1])
        position += 1
    return "".join(value), min(position, len(text))


def _quoted(text: str, position: int) -> tuple[str, int]:
    """A value up to the closing quote; `position` is after the opening one."""
    value: list[str] = []
    while position < len(text):
        if text[position] == "'":
            return "".join(value), position + 1
        if text[position] == "\\":
            position += 1
        value.append(text[position : position + 1])
        position += 1
    raise ConfigError(f"{_WHERE}: a quoted value has no closing quote")


# --- URI ---------------------------------------------------------------------------------------------


def _parse_uri(rest: str) -> dict[str, str]:
    """`[user[:password]@][host[:port]][,...][/dbname][?name=value[&...]]`, without the scheme.

    The order of the searches is libpq's: the user ends at the first `@` if no `/` comes before it.
    """
    options: dict[str, str] = {}
    at, slash = rest.find("@"), rest.find("/")
    has_user = at >= 0 and (slash < 0 or at < slash)
    if has_user:
        user, _, password = rest[:at].partition(":")
        rest = rest[at + 1 :]
        _put(options, "user", user)
        _put(options, "password", password)
    hosts, ports, rest = _split_hosts(rest)
    if any("@" in host[1:] for host in hosts):
        raise ConfigError(f"{_WHERE}: an '@' in the user or the password must be written as %40")
    _put(options, "host", ",".join(hosts))
    _put(options, "port", ",".join(ports))
    path, question, query = rest.partition("?")
    if "@" in path and not has_user:
        raise ConfigError(
            f"{_WHERE}: a '/' in the user or the password must be written as %2F,"
            " and an '@' in the name of the database as %40"
        )
    _put(options, "dbname", path[1:])
    if question:
        _parse_query(query, options, may_be_secret=not has_user and "@" in query)
    return options


def _put(options: dict[str, str], name: str, raw: str) -> None:
    """Store a part of the URI, percent-decoded; an empty part counts as not given."""
    if raw:
        options[name] = _decode(raw, name)


def _split_hosts(text: str) -> tuple[list[str], list[str], str]:
    """Split `host[:port],...` into hosts, ports ("" for none) and the rest of the text."""
    hosts: list[str] = []
    ports: list[str] = []
    position = 0
    while True:
        if text.startswith("[", position):
            closing = text.find("]", position)
            if closing < 0:
                raise ConfigError(f'{_WHERE}: an IPv6 address has no closing "]"')
            host = text[position + 1 : closing]
            if not host:
                raise ConfigError(f"{_WHERE}: an IPv6 address is empty")
            position = closing + 1
            if text[position : position + 1] not in ("", ":", "/", "?", ","):
                raise ConfigError(
                    f'{_WHERE}: only ":", "/", "?" or "," can follow the "]" of an IPv6 address'
                )
        else:
            host, position = _until(text, position, _HOST_END)
        port = ""
        if text.startswith(":", position):
            port, position = _until(text, position + 1, _PORT_END)
        hosts.append(host)
        ports.append(port)
        if len(hosts) > MAX_HOSTS:  # checked here, to stop early in a very long wrong text
            raise ConfigError(f"{_WHERE}: host: at most {MAX_HOSTS} are possible")
        if not text.startswith(",", position):
            return hosts, ports, text[position:]
        position += 1


def _until(text: str, position: int, stop: re.Pattern[str]) -> tuple[str, int]:
    """The text up to a match of `stop`, and the position of the match."""
    found = stop.search(text, position)
    end = found.start() if found else len(text)
    return text[position:end], end


def _parse_query(query: str, options: dict[str, str], *, may_be_secret: bool) -> None:
    hint = "an unknown option in the query; a '/' or '?' in the password must be percent-encoded"
    parts = query.split("&")
    if not parts[-1]:  # "a=b&" ends there, "a=b&&" does not
        parts.pop()
    for part in parts:
        raw_name, equals, raw_value = part.partition("=")
        if not equals:
            raise ConfigError(f'{_WHERE}: an option of the query has no "="')
        if "=" in raw_value:
            raise ConfigError(f'{_WHERE}: an option of the query has a second "="; write it as %3D')
        name = _decode(raw_name, "the name of an option in the query")
        value = _decode(raw_value, name if name in OPTIONS else "a value in the query")
        if (name, value) == ("ssl", "true"):  # as JDBC writes it
            name, value = "sslmode", "require"
        _store(options, name, value, may_be_secret=may_be_secret, hint=hint)


def _decode(raw: str, what: str) -> str:
    """Percent-decode one part; spaces around it are dropped, as in libpq since version 17."""
    raw = raw.strip(" ")
    if " " in raw:
        raise ConfigError(f"{_WHERE}: {what}: a space must be written as %20")
    if _BAD_PERCENT.search(raw):
        raise ConfigError(f'{_WHERE}: {what}: a "%" must be followed by two hexadecimal digits')
    if "%00" in raw:
        raise ConfigError(f"{_WHERE}: {what}: contains a NUL character")
    text = unquote_to_bytes(raw).decode("utf-8", "surrogateescape")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ConfigError(f"{_WHERE}: {what}: is not UTF-8 after percent-decoding")
    return text
