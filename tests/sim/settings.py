"""What kind of schedule a seed is: drawn from the profile's ranges, before anything runs.

A profile leans towards one part of the library, so that a search for a bug there need not wait for luck.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .world import World

__all__ = ["EVERY", "OPERATIONS", "PROFILES", "Settings"]

# What clients do, and how often; the methods are in `clients`.
OPERATIONS: Final[dict[str, int]] = {
    "fetch": 14,
    "insert": 14,
    "fails": 6,
    "batch": 12,
    "transaction": 8,
    "retry": 3,
    "prepared": 3,
    "copy_in": 3,
    "copy_out": 2,
    "executemany": 3,
    "listen": 2,
    "stream": 3,
    "shared": 6,
    "sleep": 3,
    "dirty": 4,
    "misuse": 2,
    "direct": 2,
    "lease": 8,
    "expire": 1,
    "fat_batch": 1,
    "big_stream": 1,
    "reshape": 1,
    "misfit": 1,
    "odd_transaction": 3,
    "hasty_copy": 1,
}


class Profile:
    """Ranges of one kind of schedules.

    Args:
        lean: operations that happen more often, with their weights; `only` drops all others.
        faults: the probability that a schedule has faults at all.
        cancels: the probability that it cancels tasks.
        walks: the probability that it is no pool's schedule, but walks through the protocol core.
        pooler: the probability that a pooler stands in front of the server.
        unnamed: the probability that it is one that switches servers between transactions.
        following: the probability that it is one that switches servers and follows names, if it is not.
    """

    def __init__(
        self,
        *,
        lean: dict[str, int] | None = None,
        only: bool = False,
        faults: float = 0.75,
        cancels: float = 0.4,
        pooler: float = 0.15,
        unnamed: float = 0.5,
        walks: float = 0.0,
        following: float = 0.0,
        tasks: tuple[int, ...] = (1, 2, 2, 3, 4, 6),
    ) -> None:
        weights = {} if only else dict(OPERATIONS)
        weights.update(lean or {})
        self.names = list(weights)
        self.weights = list(weights.values())
        self.faults = faults
        self.cancels = cancels
        self.pooler = pooler
        self.unnamed = unnamed
        self.walks = walks
        self.following = following
        self.tasks = tasks


PROFILES: Final[dict[str, Profile]] = {
    "all": Profile(walks=0.25),
    "core": Profile(walks=1.0),
    "calm": Profile(faults=0.0, cancels=0.0),
    "cancel": Profile(faults=0.3, cancels=1.0, tasks=(2, 3, 4, 6, 8)),
    "batch": Profile(lean={"batch": 60}),
    "copy": Profile(lean={"copy_in": 30, "executemany": 40, "copy_out": 20, "stream": 20, "hasty_copy": 20}),
    "pool": Profile(lean={"lease": 30, "dirty": 15, "expire": 5}, tasks=(3, 5, 8, 12)),
    "shared": Profile(lean={"shared": 60}, pooler=0.0),
    "transaction": Profile(lean={"transaction": 40, "retry": 20}),
    "pooler": Profile(pooler=1.0),
    # Servers that change hands while more of the same client is on its way: see `network.Weather` too.
    "tangled": Profile(
        lean={"shared": 60, "batch": 60},
        faults=0.1,
        cancels=0.3,
        pooler=1.0,
        unnamed=1.0,
        tasks=(2, 3, 4, 6),
    ),
    "corners": Profile(
        lean={"fat_batch": 5, "big_stream": 3, "reshape": 10, "misfit": 5, "odd_transaction": 20}, only=True
    ),
    "storm": Profile(cancels=0.8, tasks=(16, 32, 64)),
    "texts": Profile(
        lean={"text_batch": 20, "fetch": 2, "insert": 2},
        only=True,
        faults=0.3,
        cancels=0.1,
        pooler=0.0,
        tasks=(1, 1, 2, 3),
    ),
    "limits": Profile(
        lean={"long_text": 10, "many_texts": 6, "evictions": 2, "fetch": 2, "insert": 2},
        only=True,
        faults=0.15,
        cancels=0.1,
        pooler=0.3,
        tasks=(1, 1, 2),
    ),
    "endings": Profile(
        lean={"left_early": 10, "short_lived": 10, "fetch": 4, "insert": 2, "lease": 2, "expire": 2},
        only=True,
        faults=0.2,
        cancels=0.1,
        pooler=0.4,
        tasks=(1, 1, 2),
    ),
    # Columns that change their types under statements that are prepared, mostly behind a pooler.
    "migrating": Profile(
        lean={
            "amounts_in_turn": 10,
            "amounts_on_lease": 20,
            "amounts_by_copy": 5,
            "retype": 10,
            "fetch": 2,
            "insert": 2,
        },
        only=True,
        faults=0.2,
        cancels=0.2,
        pooler=0.85,
        unnamed=0.3,
        following=0.8,
        tasks=(2, 3, 4, 6),
    ),
    # Types that are not built in, looked up by many at once.
    "types": Profile(
        lean={"labels": 30, "relearn": 4, "fetch": 2, "insert": 2, "transaction": 2},
        only=True,
        faults=0.3,
        cancels=0.3,
        pooler=0.3,
        tasks=(2, 3, 4, 8, 16),
    ),
    "callers": Profile(
        lean={"odd_value": 10, "odd_source": 10, "hooked": 6, "called_back": 3, "retried": 4}
        | {"intrude": 6, "nonsense": 8, "fetch": 2, "insert": 2},
        only=True,
        faults=0.2,
        cancels=0.2,
        pooler=0.1,
        tasks=(1, 1, 2, 3),
    ),
}

EVERY: Final[dict[str, int]] = {
    "all": 42,
    "types": 2,
    "callers": 18,
    "tangled": 12,
    "texts": 10,
    "migrating": 4,
    "limits": 2,
    "endings": 2,
    "batch": 1,
    "calm": 1,
    "cancel": 1,
    "copy": 1,
    "pool": 1,
    "pooler": 1,
    "shared": 1,
    "transaction": 1,
}
"""What a long run is made of, in hundredths."""


class Settings:
    """One schedule's kind."""

    def __init__(self, world: World) -> None:
        rng = world.rng
        profile = PROFILES[world.profile]
        self.profile = profile
        self.walks = rng.random() < profile.walks
        self.tasks = rng.choice(profile.tasks)
        if world.profile == "all" and rng.random() < 0.005:
            self.tasks = rng.choice((16, 32, 64))
        self.steps = rng.choice((1, 1, 2, 3)) if self.tasks < 8 else 1
        self.max_size = rng.choice((1, 1, 2, 3, 4, 8))
        self.min_size = rng.choice((0, 0, 1, self.max_size))
        self.faulty = rng.random() < profile.faults
        self.cancelling = rng.random() < profile.cancels
        self.pooler = rng.random() < profile.pooler
        self.named_statements = not (self.pooler and rng.random() < profile.unnamed)
        self.hooks = rng.random() < 0.15
        self.command_timeout = rng.choice((0.2, 1.0, 2.0))
        self.acquire_timeout = rng.choice((0.3, 2.0, 4.0))
        self.connect_timeout = 2
        self.statement_cache_size = rng.choice((0, 1, 2, 100, 100, 100))
        self.max_lifetime = rng.choice((None, None, 0.2, 5.0))
        self.check_after = rng.choice((0.0, 0.05, 30.0, 30.0))
        self.scram = rng.random() < 0.04
        self.standby = rng.random() < 0.05
        """The server is a standby from the start: whatever writes fails, a BEGIN READ WRITE does too."""
        self.cramped = rng.random() < 0.05
        """The server refuses many a BEGIN."""
        apart = random.Random(f"reset:{world.profile}:{world.seed}")
        self.reset = apart.choice(("auto", "auto", "always", "discard all"))
        """How the pool resets.  This and the next are drawn apart: the others keep their values."""
        self.set_up = apart.random() < 0.2
        """`on_connect` sets something up."""
        self.following = 0
        """How many names the pooler follows on a server; 0 if it does not."""
        if self.pooler and self.named_statements and apart.random() < profile.following:
            self.following = apart.choice((1, 2, 100, 100))
        self.close_early = rng.random() < 0.06
        self.spread = rng.choice((0.0, 0.001, 0.01, 0.1, 0.5))
        """The seconds over which the clients begin."""
