"""A deterministic simulation: the real asyncio adapter and pool on virtual time, a network of bad weather,
model servers that know the truth, and an oracle.  One seed decides everything.

    python -m tests.sim --seeds 2000 --jobs 2          run schedules
    python -m tests.sim --replay 4711 -v               one again, with its trace
"""

from __future__ import annotations

from .run import Report, run
from .world import Violation

__all__ = ["Report", "Violation", "run"]
