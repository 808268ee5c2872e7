"""Whether a connection may be lent, seen from outside: by what its socket has, and when it was heard last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .network import Link
    from .settings import Settings

__all__ = ["stale"]

# Between the grant and the borrower's first step no time passes; float arithmetic needs some room.
_INSTANT: Final = 1e-6
# A borrower may have kept it for so long without a word to the server; its return counts as a sign of life.
_BORROWED: Final = 0.3


def stale(link: Link, now: float, settings: Settings, expired_at: float) -> str:
    """Why the connection should not have been lent at this moment; "" if nothing speaks against it.

    Args:
        link: its link.
        now: the time.
        settings: the pool's.
        expired_at: when `expire()` was called last.
    """
    near = link.near
    if near is None or near.lost:
        return ""  # it has ended since
    if near.readable and near.readable_since < now - _INSTANT:
        return "unread bytes, or EOF, in its socket"
    if link.made < expired_at < now - _INSTANT:
        return "an age that expire() has ended"
    if link.tap.outstanding:
        return "an answer outstanding"
    if link.tap.standby:
        return "a server that has become a standby"
    silence = now - near.heard_at
    if silence > settings.check_after + _BORROWED:
        return f"{silence:.3f} s of silence behind it, unchecked"
    return ""
