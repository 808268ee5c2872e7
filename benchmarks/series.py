"""The figures: what was measured of one driver in one workload, round by round, and what is made of it.

Rule: a ratio is made within a round, of figures that were measured within a second or so of one another,
and the median of the rounds' ratios is reported.  So what slows the machine down for a while, slows both.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["METRICS", "Results", "Series", "exponent", "geometric_mean"]

METRICS: Final = ("wall", "cpu", "peak")


class Series:
    """By round number, the figures of one operation: "wall" and "cpu" seconds, and "peak" bytes."""

    def __init__(self, driver: str, way: str = "") -> None:
        self.driver = driver
        self.way = way
        self.rounds: dict[int, dict[str, float]] = {}
        self.error = ""

    def add(self, number: int, figures: Mapping[str, float]) -> None:
        """The figures of a round."""
        self.rounds[number] = dict(figures)

    def values(self, metric: str) -> list[float]:
        """A metric in all rounds."""
        return [figures[metric] for figures in self.rounds.values()]

    def median(self, metric: str) -> float:
        """The median of the rounds."""
        return statistics.median(self.values(metric))

    def quartiles(self, metric: str) -> tuple[float, float]:
        """The first and the third quartile of the rounds."""
        values = self.values(metric)
        if len(values) == 1:
            return values[0], values[0]
        first, _, third = statistics.quantiles(values, n=4, method="inclusive")
        return first, third

    def ratio_to(self, other: Series, metric: str) -> float:
        """How many times the other's figure this one is; nan if they share no round."""
        pairs = [
            (figures[metric], other.rounds[number][metric])
            for number, figures in self.rounds.items()
            if number in other.rounds
        ]
        ratios = [mine / theirs for mine, theirs in pairs if theirs > 0]
        return statistics.median(ratios) if ratios else math.nan

    def as_dict(self) -> dict[str, object]:
        """Everything, for the JSON file."""
        if self.error:
            return {"driver": self.driver, "way": self.way, "error": self.error}
        found: dict[str, object] = {"driver": self.driver, "way": self.way}
        for metric in METRICS:
            found[metric] = {"median": self.median(metric), "quartiles": list(self.quartiles(metric))}
        found["rounds"] = {str(number): figures for number, figures in self.rounds.items()}
        return found


Results = Mapping[str, Mapping[str, Series]]
"""By workload, by driver."""


def geometric_mean(values: Sequence[float]) -> float:
    """The geometric mean; nan of none."""
    return statistics.geometric_mean(values) if values else math.nan


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """The slope of the least-squares line through log(time) over log(size): 1.0 is linear."""
    xs, ys = [math.log(size) for size in sizes], [math.log(time) for time in times]
    return statistics.linear_regression(xs, ys).slope
