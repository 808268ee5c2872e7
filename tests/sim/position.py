"""Where a link is, as its client sees it: one of the positions of the catalogue.

Told from the tap alone: what was handed over, what was delivered, and what waits in the transport.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .network import Link

__all__ = ["where"]

_ENDS: Final = frozenset(b"SQF")  # Sync, Query, FunctionCall: each is answered by one ReadyForQuery
_ASIDE: Final = frozenset(b"NSA")  # notices, parameters, notifications: between any two messages
_COPY: Final = frozenset(b"GHWdc")
_RESETS: Final = (b"DISCARD", b"\0")


def where(link: Link) -> str:
    """The position."""
    near = link.near
    tap = link.tap
    sent = tap.sent
    if near is None or not sent:
        return "P12"
    if near.get_write_buffer_size():
        return "P1"
    partial = tap.down.partial
    if partial:
        return "P3" if len(partial) < 5 else "P4"
    heard = [frame for frame in tap.heard if frame[0] not in _ASIDE]
    ready = sum(frame[0] == 0x5A for frame in heard)
    if not ready:
        return "P12"
    tag, _, body = sent[-1]
    if tag == 0x58 or (tag == 0x51 and body.upper().startswith(_RESETS)):
        return "P11"
    asked = sum(frame[0] in _ENDS for frame in sent)
    last = heard[-1][0]
    if asked < ready and tag not in _ENDS and len(sent) > 1 and tag not in b"cf":
        return "P1"
    if asked < ready:
        return "P0" if link.lent else "P10"
    if last == 0x45:
        return "P9" if b"FATAL" in heard[-1][2][:16] else "P8"
    if last == 0x44:
        return "P5"
    if last in _COPY:
        return "P13"
    if last == 0x43:
        return "P7" if _last_of_its_segment(link, ready) else "P6"
    return "P2"


def _last_of_its_segment(link: Link, ready: int) -> bool:
    """True if the CommandComplete that was heard last is the one of its segment's last Execute."""
    index = 0
    executes = 0
    for tag, _, _body in link.tap.sent:
        if tag == 0x45:
            executes += index == ready - 1
        elif tag in _ENDS:
            index += 1
    completed = 0
    for tag, _, _body in reversed(link.tap.heard):
        if tag == 0x5A:
            break
        completed += tag in b"CIs"
    return completed >= executes
