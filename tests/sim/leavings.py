"""What clients leave in a session that they give back: settings, roles, locks, tables, cursors, listeners.

As callers do: by every way to run a statement, with a comment inside of a call, in COPY, behind a reset of
their own, and in the middle of an error.  That the next borrower finds nothing of it is for `checks` to see.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

from .settings import Settings

__all__ = ["HIDDEN", "Leaving"]

SCRIPTS: Final = (
    "set application_name = 'dirt'",
    "listen dirt",
    "create temp table dirt (id int4)",
    "begin",
    "begin; insert into ledger values (-1)",
    "select pg_advisory_lock_shared(1)",
    "set statement_timeout = 3000",
)
MORE: Final = (
    ("script", "set role postgres"),
    ("script", "begin; declare dirt cursor with hold for select 1; commit"),
    ("script", "/* a */ select 1; -- b\n select pg_advisory_lock_shared(1)"),
    ("execute", "select pg_advisory_lock_shared /* no call? */ (1)"),
    ("execute", "select pg_advisory_lock_shared -- no call?\n(1)"),
    ("execute", "select 1 as id into pg_temp.dirt"),
    ("execute", "select nextval('numbers')"),
    ("copy", "copy (select pg_advisory_lock_shared(1)) to stdout"),
    ("stream", "select nextval('numbers')"),
    ("prepare", "select pg_advisory_lock_shared(1)"),
    ("reset", "set role postgres"),
    ("listen", "dirt"),
    ("wiped", "discard all"),
    ("wiped", "reset all"),
    ("wiped", "reset my.tenant"),
)
# What no text shows: only `reset="always"` is right for it.
HIDDEN: Final = "select * from hidden"


class Leaving:
    """Operations of `Clients`."""

    rng: random.Random
    pool: Any
    settings: Settings
    within: Callable[..., Awaitable[Any]]
    lease: Callable[..., Awaitable[None]]
    _limit: Callable[..., float]

    async def dirty(self, on: Any) -> None:
        """Leave a trace in the session."""
        if on is self.pool:
            await self.lease(on, ["dirty"])
            return
        text = self.rng.choice(SCRIPTS)
        how = "script"
        chance = self.rng.random()
        if chance < 0.5:
            how, text = MORE[int(chance * 2 * len(MORE))]
        elif chance < 0.6 and self.settings.reset == "always":
            how, text = "execute", HIDDEN
        await self.within(self._limit(on), "dirt", self._leave(on, how, text))

    async def _leave(self, on: Any, how: str, text: str) -> None:
        if how == "copy":
            async for _ in on.copy_out(text):
                pass
        elif how == "stream":
            async for _ in on.stream(text):
                pass
        elif how == "prepare":
            await (await on.prepare(text)).fetch()
        elif how == "listen":
            await on.listen(text).__aenter__()
        elif how == "execute":
            await on.execute(text)
        else:
            await on.script(text)
        if how == "reset":
            await on.reset("reset all")
