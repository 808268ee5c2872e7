"""How time grows with size: the exponent of a power law, fitted to what was measured.  1.0 is linear.

What an operation costs whatever its size makes the exponent smaller than 1, and could hide what grows with
the square of the size; so there are two: of all sizes, and of the step to the largest alone.  The times are
CPU seconds, which other work on the machine disturbs least; the floor's are wall time, for they are the
server's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .drivers import FLOOR
from .series import Results, exponent
from .workloads import GROWTH, WORKLOADS

__all__ = ["LINEAR", "Growth", "growths"]

LINEAR: Final = 1.15
"""Exponents up to this are taken for linear."""

_LEAST: Final = 3  # points that make a line


class Growth:
    """The fit of one driver in one family of workloads."""

    def __init__(self, family: str, driver: str, sizes: list[int], times: list[float]) -> None:
        self.family = family
        self.driver = driver
        self.sizes = sizes
        self.times = times
        self.exponent = exponent(sizes, times)
        self.last = exponent(sizes[-2:], times[-2:])

    @property
    def linear(self) -> bool:
        """True if it grows no faster than its size."""
        return max(self.exponent, self.last) <= LINEAR


def growths(results: Results) -> Iterator[Growth]:
    """A fit for each family of workloads, and each driver of pgproto and the floor that has enough points."""
    for family, names in GROWTH.items():
        measured = [name for name in names if name in results]
        drivers = dict.fromkeys(driver for name in measured for driver in results[name])
        for driver in drivers:
            if not driver.startswith(("pgproto", FLOOR)):
                continue
            metric = "wall" if driver == FLOOR else "cpu"
            points = [
                (WORKLOADS[name].per, results[name][driver].median(metric))
                for name in measured
                if driver in results[name] and results[name][driver].rounds
            ]
            points = [(size, time) for size, time in points if time > 0]
            if len(points) >= _LEAST:
                yield Growth(family, driver, [size for size, _ in points], [time for _, time in points])
