"""Types that are not built in: they are looked up, once for a pool, and whatever becomes of who asks.

Every value of such a type is what was passed, as a list and not as its text.  Only where the look-up may have
failed (faults, cancelled tasks) is text the honest answer as well; it must have the same value in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from .record import Record
    from .settings import Settings
    from .world import World

__all__ = ["Labels"]

_LABELS: Final = "select array[$1::text]::label[] as tags"


class Labels:
    """Operations of `Clients`."""

    world: World
    rng: random.Random
    record: Record
    pool: Any
    settings: Settings
    ask: Callable[..., Awaitable[Any]]

    async def labels(self, on: Any) -> None:
        """One value, by one of many texts."""
        tag = self.record.new_tag()
        rows = await self.ask(on, "fetch", tag, f"{_LABELS} /* {self.rng.randrange(20)} */", tag)
        given = [row[0] for row in rows]
        text = self.settings.faulty or self.settings.cancelling or self.record.lied
        if given != [[tag]] and not (text and given == [f'{{"{tag}"}}']) and not self.record.lied:
            self.world.violation(f"labels of {tag}: {given!r}", "rows")

    async def relearn(self, on: Any) -> None:
        """Another session has found that a type was altered."""
        self.pool._driver._jobs._connector.types.forget()
