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
_QUESTIONS: Final = frozenset(b"QP")  # Query, Parse


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
        if link not in self._welcomed and _asks_for_3_0(link) and _has_begun(link):
            self._welcomed.add(link)
            self._took_3_0_at = link.network.world.now

    def lost(self, link: Link) -> None:
        """A session has ended."""
        codes = [fields_of(body).get("C") for _, _, body in link.tap.heard]
        refused = not _asks_for_3_0(link) and codes == ["08P01"]
        if not _has_begun(link) and not refused:
            self.unreachable()

    def unreachable(self) -> None:
        """An attempt to connect has failed."""
        self._took_3_0_at = None


def _has_begun(link: Link) -> bool:
    """The client has taken it for a session: it has asked something.  What it was told may be garbled."""
    return any(tag in _QUESTIONS for tag, _, _ in link.tap.sent)


def _asks_for_3_0(link: Link) -> bool:
    return link.tap.sent[0][2][:4] == _PROTOCOL_3_0
