"""Which script resets a session after a lease, if any.

There are two scripts.  DISCARD ALL drops everything, including prepared statements, which must then be
prepared again.  If no statement can have changed the session's state, but the pool is to reset always, the
other script is enough: the parts of DISCARD ALL that the manual lists, except DEALLOCATE ALL and DISCARD
PLANS.  It has RESET ROLE because RESET ALL does not reset the role.  Manual: "DISCARD".
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
        reset: "auto", "always", "never" (or ""), or a script to run after every lease in which anything was
            sent.

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
            # No useful script is a single word, so this is one of the three names, misspelt.
            raise ConfigError(f'reset must be "auto", "always", "never" or a script, not {reset!r}')

    def script_for(self, *, touched: bool, dirty: bool) -> str:
        """The script to run after a lease; "" for none.

        Args:
            touched: something was sent to the server since the last reset.
            dirty: a statement may have changed the session's state.
        """
        if self._mode == _NEVER or not (touched or dirty):
            return ""
        if self._mode == _AUTO:
            return FORGET_ALL if dirty else ""
        if self._mode == _ALWAYS:
            return FORGET_ALL if dirty else KEEP_STATEMENTS
        return self._script
