"""Whether a connection may be lent, seen from outside: by what its socket has, and when it was heard last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgproto.session.lookup import PATIENCE

if TYPE_CHECKING:
    from .network import Link
    from .settings import Settings

__all__ = ["stale"]

# Between the grant and the borrower's first step no time passes; float arithmetic needs some room.
_INSTANT: Final = 1e-6
# A caller who went away may have left something to be read to its end; the library's grace is 0.8 s.
_DRAINED: Final = 0.9
# A caller that waited in silence for the look-up of another session has given it back, too.
_WAITED: Final = PATIENCE


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
    if link.tap.standby and not link.lied:
        return "a server that has become a standby"
    # That a borrower gives it back counts as a sign of life.
    silence = now - max(near.heard_at, link.returned)
    if silence > settings.check_after + _DRAINED + (_WAITED if "labels" in settings.profile.names else 0.0):
        return f"{silence:.3f} s of silence behind it, unchecked"
    return ""
