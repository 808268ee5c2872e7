"""What makes a session as new that a borrower gives back: which script, or none.

Two scripts.  DISCARD ALL forgets everything, the prepared statements included, so that each of them has to
be prepared again.  Where nothing that was seen can have left a trace, but the caller wants a reset all the
same, the other one does: DISCARD ALL's parts, as the manual lists them, without DEALLOCATE ALL and DISCARD
PLANS.  RESET ROLE is in it because RESET ALL leaves the role alone.  Manual: "DISCARD".
"""

from __future__ import annotations

from typing import Final

from ..errors import ConfigError

__all__ = ["FORGET_ALL", "KEEP_STATEMENTS", "Resetting"]

FORGET_ALL: Final = "DISCARD ALL"
KEEP_STATEMENTS: Final = (
    "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; UNLISTEN *; DISCARD TEMP; "
    "DISCARD SEQUENCES; SELECT pg_catalog.pg_advisory_unlock_all()"
)

_ALWAYS: Final = "always"
_AUTO: Final = "auto"
_NEVER: Final = "never"


class Resetting:
    """A pool's `reset` option.

    Args:
        reset: "auto", "always", "never" (or ""), or a script, which runs after every lease in which
            anything was sent.

    Raises:
        ConfigError: it is none of these.
    """

    __slots__ = ("_mode", "_script")

    def __init__(self, reset: object) -> None:
        if not isinstance(reset, str) or "\0" in reset:
            raise ConfigError(f'reset must be "auto", "always", "never" or a script, not {reset!r}')
        self._mode: Final[str] = reset.lower() if reset.strip() else _NEVER
        self._script: Final[str] = reset
        if self._mode not in (_AUTO, _ALWAYS, _NEVER) and len(reset.split()) == 1:
            # No script of a single word makes sense, so it is one of the three, misspelt.
            raise ConfigError(f'reset must be "auto", "always", "never" or a script, not {reset!r}')

    def script_for(self, *, touched: bool, dirty: bool) -> str:
        """What to run after a lease; "" for nothing.

        Args:
            touched: something was sent to the server since the last reset.
            dirty: some of it may have left a trace in the session.
        """
        if self._mode == _NEVER or not (touched or dirty):
            return ""
        if self._mode == _AUTO:
            return FORGET_ALL if dirty else ""
        if self._mode == _ALWAYS:
            return FORGET_ALL if dirty else KEEP_STATEMENTS
        return self._script
