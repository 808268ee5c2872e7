"""Connection strings, split into their options as libpq does it, with libpq's error texts.

`pgproto.config` has a parser of its own, which is stricter and never quotes what it refuses.  psycopg
needs libpq's: programs pass options that only libpq knows, and look for the option's name in the error.
"""

from __future__ import annotations

from .options import KEYWORDS

__all__ = ["ConninfoError", "parse"]

_SPACE = " \t\n\v\f\r"
_SCHEMES = ("postgresql://", "postgres://")


class ConninfoError(ValueError):
    """A connection string that cannot be used; the text is libpq's.

    Attributes:
        late: libpq finds it only when it connects.
    """

    def __init__(self, text: str, *, late: bool = False) -> None:
        super().__init__(text)
        self.late = late


def parse(text: str) -> dict[str, str]:
    """Split a connection string: a URI, or keyword=value pairs.

    Args:
        text: the connection string.

    Returns:
        The options that it has, by keyword.

    Raises:
        ConninfoError: it cannot be parsed, or has an unknown option.
    """
    text = text.partition("\0")[0]
    for scheme in _SCHEMES:
        if text.startswith(scheme):
            return _parse_uri(text, len(scheme))
    return _parse_pairs(text)


def _store(options: dict[str, str], keyword: str, value: str) -> None:
    if keyword == "requiressl":
        keyword, value = "sslmode", "require" if value.startswith("1") else "prefer"
    if keyword not in KEYWORDS:
        raise ConninfoError(f'invalid connection option "{keyword}"\n')
    options[keyword] = value


def _parse_pairs(text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    position, end = 0, len(text)
    while True:
        position = _after_space(text, position)
        if position == end:
            return options
        start = position
        while position < end and text[position] != "=" and text[position] not in _SPACE:
            position += 1
        keyword = text[start:position]
        position = _after_space(text, position)
        if position == end or text[position] != "=":
            raise ConninfoError(f'missing "=" after "{keyword}" in connection info string\n')
        position = _after_space(text, position + 1)
        quoted = text[position : position + 1] == "'"
        value, position = _value(text, position + quoted, quoted=quoted)
        _store(options, keyword, value)


def _after_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return position


def _value(text: str, position: int, *, quoted: bool) -> tuple[str, int]:
    """A value up to its end: the closing quote, or a space.  A backslash escapes the next character."""
    value: list[str] = []
    while position < len(text):
        character = text[position]
        if character == "'" if quoted else character in _SPACE:
            return "".join(value), position + 1
        if character == "\\":
            position += 1
        value.append(text[position : position + 1])
        position += 1
    if quoted:
        raise ConninfoError("unterminated quoted string in connection info string\n")
    return "".join(value), len(text)


def _parse_uri(uri: str, start: int) -> dict[str, str]:
    options: dict[str, str] = {}
    rest = uri[start:]
    at, slash = rest.find("@"), rest.find("/")
    if at >= 0 and (slash < 0 or at < slash):
        user, _, password = rest[:at].partition(":")
        _store_decoded(options, "user", user)
        _store_decoded(options, "password", password)
        start += at + 1
    hosts, ports, position = _hosts(uri, start)
    _store_decoded(options, "host", ",".join(hosts))
    _store_decoded(options, "port", ",".join(ports))
    path, question, query = uri[position:].partition("?")
    _store_decoded(options, "dbname", path[1:])
    if question:
        _parse_query(options, query)
    return options


def _store_decoded(options: dict[str, str], keyword: str, value: str) -> None:
    if value:
        options[keyword] = _decode(value)


def _hosts(uri: str, position: int) -> tuple[list[str], list[str], int]:
    """The hosts and ports (some of them ""), and the position after them."""
    hosts: list[str] = []
    ports: list[str] = []
    while True:
        if uri.startswith("[", position):
            closing = uri.find("]", position)
            if closing < 0:
                what = 'end of string reached when looking for matching "]" in IPv6 host address in URI'
                raise ConninfoError(f'{what}: "{uri}"\n')
            if closing == position + 1:
                raise ConninfoError(f'IPv6 host address may not be empty in URI: "{uri}"\n')
            hosts.append(uri[position + 1 : closing])
            position = closing + 1
            if uri[position : position + 1] not in ("", ":", "/", "?", ","):
                what = f'unexpected character "{uri[position]}" at position {position + 1} in URI'
                raise ConninfoError(f'{what} (expected ":" or "/"): "{uri}"\n')
        else:
            end = _find(uri, position, ":/?,")
            hosts.append(uri[position:end])
            position = end
        port = ""
        if uri.startswith(":", position):
            end = _find(uri, position + 1, "/?,")
            port = uri[position + 1 : end]
            position = end
        ports.append(port)
        if not uri.startswith(",", position):
            return hosts, ports, position
        position += 1


def _find(text: str, position: int, stops: str) -> int:
    while position < len(text) and text[position] not in stops:
        position += 1
    return position


def _parse_query(options: dict[str, str], query: str) -> None:
    parts = query.split("&")
    if not parts[-1]:
        parts.pop()
    for part in parts:
        raw_keyword, equals, raw_value = part.partition("=")
        if not equals:
            what = 'missing key/value separator "=" in URI query parameter'
            raise ConninfoError(f'{what}: "{raw_keyword}"\n')
        if "=" in raw_value:
            what = 'extra key/value separator "=" in URI query parameter'
            raise ConninfoError(f'{what}: "{raw_keyword}"\n')
        keyword, value = _decode(raw_keyword), _decode(raw_value)
        if (keyword, value) == ("ssl", "true"):  # as JDBC writes it
            keyword, value = "sslmode", "require"
        if keyword not in KEYWORDS and keyword != "requiressl":
            raise ConninfoError(f'invalid URI query parameter: "{keyword}"\n')
        _store(options, keyword, value)


def _decode(raw: str) -> str:
    """Percent-decode one part."""
    found = bytearray()
    data = raw.lstrip(" ").rstrip(" ")
    if any(character in _SPACE for character in data):
        what = f'unexpected spaces found in "{raw}"'
        raise ConninfoError(f"{what}, use percent-encoded spaces (%20) instead\n")
    pieces = data.split("%")
    found += pieces[0].encode("utf-8", "surrogateescape")
    for piece in pieces[1:]:
        digits = piece[:2]
        if len(digits) < 2 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
            raise ConninfoError(f'invalid percent-encoded token: "{raw}"\n')
        if digits == "00":
            raise ConninfoError(f'forbidden value %00 in percent-encoded value: "{raw}"\n')
        found.append(int(digits, 16))
        found += piece[2:].encode("utf-8", "surrogateescape")
    return found.decode("utf-8", "surrogateescape")
