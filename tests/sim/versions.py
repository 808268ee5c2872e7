"""The protocol version that a pool asks for: a server that refuses 3.2 is asked for it once.

Told from the bytes: whoever got a session by asking for 3.0 asks for 3.0 from then on, until an attempt ends
without an answer, which a refusal of 3.2 is not.  Another server may be there then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .causes import fields_of

if TYPE_CHECKING:
    from .network import Link

__all__ = ["Versions"]

_PROTOCOL_3_0: Final = b"\0\3\0\0"
_REQUESTS: Final = frozenset((0, 3, 5, 10, 11, 12))  # authentication requests: Ok, passwords, SASL
_ASIDE: Final = frozenset(b"EN")  # errors and notices, which anybody can send


class Versions:
    """What the pool can know of its server."""

    def __init__(self) -> None:
        self._took_3_0_at: float | None = None
        self._welcomed: set[Link] = set()

    def asked(self, link: Link) -> None:
        """A session begins: its StartupMessage was handed over."""
        known = self._took_3_0_at
        if known is not None and known < link.dialled and not _asks_for_3_0(link):
            text = f"link {link.number} asks for protocol 3.2, which was refused before"
            link.network.world.violation(text, "refusal")

    def heard(self, link: Link) -> None:
        """The client got something."""
        if link in self._welcomed or _is_garbled(link) or not _asks_for_3_0(link):
            return
        tags = bytes(tag for tag, _, _ in link.tap.heard)
        start, ready, _ = tags.partition(b"Z")
        if ready and b"R" in start and b"E" not in start:  # after an error nobody is welcome
            self._welcomed.add(link)
            self._took_3_0_at = link.network.world.now

    def lost(self, link: Link) -> None:
        """A session has ended."""
        heard = link.tap.heard
        answered = any(tag not in _ASIDE and _is_whole(tag, body) for tag, _, body in heard)
        refused = not _asks_for_3_0(link) and [fields_of(body).get("C") for _, _, body in heard] == ["08P01"]
        if _is_garbled(link) or (not answered and not refused):
            self.unreachable()

    def unreachable(self) -> None:
        """An attempt to connect has failed."""
        self._took_3_0_at = None


def _is_garbled(link: Link) -> bool:
    """What it was told is not what a server says, so that it may have taken it for no answer."""
    return link.lied or bool(link.tap.poison) or link.tap.down.broken


def _is_whole(tag: int, body: bytes) -> bool:
    """Not an Authentication of which a pooler had sent the beginning when it said its last words."""
    return tag != ord("R") or int.from_bytes(body[:4], "big") in _REQUESTS


def _asks_for_3_0(link: Link) -> bool:
    return link.tap.sent[0][2][:4] == _PROTOCOL_3_0
