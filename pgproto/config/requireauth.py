"""`require_auth`: the authentication methods that a server may use.  Manual: "Parameter Key Words".

The configuration uses it to refuse a wrong text early, the authentication to check the server's request.
"""

from __future__ import annotations

from typing import Final

from ..errors import ConfigError

__all__ = ["METHODS", "RequiredAuth", "parse_require_auth"]

METHODS: Final = ("password", "md5", "gss", "sspi", "scram-sha-256", "oauth")
"""The methods that `require_auth` knows, besides `none` (no authentication)."""


class RequiredAuth:
    """A parsed `require_auth`."""

    __slots__ = ("allowed", "listed", "required", "text")

    def __init__(self, text: str, allowed: frozenset[str], listed: frozenset[str], required: bool) -> None:
        self.text: str = text
        """The user's text, for messages."""
        self.allowed: frozenset[str] = allowed
        """The methods that the server may use."""
        self.listed: frozenset[str] = listed
        """The methods that the user named (and did not forbid)."""
        self.required: bool = required
        """True if the server must use one of them before AuthenticationOk."""

    def __repr__(self) -> str:
        return f"RequiredAuth({self.text!r})"


def parse_require_auth(text: str) -> RequiredAuth:
    """Parse libpq's `require_auth`.

    Args:
        text: comma-separated methods, of which the server must use one; or, each after a `!`, methods that
            it must not use.  "" allows every method.

    Raises:
        ConfigError: a method is unknown (the text does not quote it), named twice, or both kinds are mixed.
    """
    if not text:
        return RequiredAuth("", frozenset(METHODS), frozenset(), required=False)
    names: set[str] = set()
    negative = text.startswith("!")
    for part in text.split(","):
        name = part.removeprefix("!")
        if name not in METHODS and name != "none":
            methods = ", ".join(sorted((*METHODS, "none")))
            raise ConfigError(f"require_auth: expected a comma-separated list of {methods}, or all with '!'")
        if part.startswith("!") != negative:
            raise ConfigError(f'require_auth: method "{name}": "!" must be in front of all methods or none')
        if name in names:
            raise ConfigError(f'require_auth: method "{part}" is specified more than once')
        names.add(name)
    if negative:
        return RequiredAuth(text, frozenset(METHODS) - names, frozenset(), required="none" in names)
    listed = frozenset(names - {"none"})
    return RequiredAuth(text, listed, listed, required="none" not in names)
