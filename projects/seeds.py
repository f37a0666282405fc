"""Figures over seeds, and a network against the dense curve at equal cost.

A sparse network is compared with the dense ones at equal cost, for each seed: between the
resolutions that were tested, the dense networks' metric is interpolated linearly over the cost. A
dense network that costs more than a better one counts as that one.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

NOT_RUN, OFF_THE_CURVE = 'not run yet', 'off the curve'


@dataclass(frozen=True)
class Statistic:
    """A number measured for several seeds.

    Attributes:
        values: One per seed.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float:
        """Sample standard deviation over seeds; 0 for a single seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def verdict(self) -> str:
        """'better' or 'worse' if all seeds agree and the mean difference exceeds the spread."""
        if len(self.values) == 1:
            return 'one seed: no verdict'
        same_sign = len({value > 0 for value in self.values}) == 1
        if not same_sign or abs(self.mean) <= self.spread:
            return "within the seeds' spread"
        return 'better' if self.mean > 0 else 'worse'

    def text(self, sign: str = '', digits: int = 1) -> str:
        """Mean ± spread; the mean alone of a single seed.

        Args:
            sign: '+' for differences.
            digits: How many follow the point.
        """
        spread = f' ± {self.spread:.{digits}f}' if len(self.values) > 1 else ''
        return f'{self.mean:{sign}.{digits}f}{spread}'

    def each(self) -> str:
        """Differences, seed by seed."""
        return ', '.join(f'{value:+.1f}' for value in self.values)


def mean_and_spread(values: Iterable[float], digits: int = 1) -> str:
    """Mean ± standard deviation over seeds, and how many there are if not three."""
    found = Statistic(tuple(values))
    number = len(found.values)
    if not number:
        return NOT_RUN
    seeds = '' if number == 3 else f' ({number} seed{"s" if number > 1 else ""})'
    return f'{found.text(digits=digits)}{seeds}'


def above_curve(curve: Iterable[tuple[float, float]], cost: float, metric: float) -> float | None:
    """How far a network lies above the dense networks of equal cost.

    Args:
        curve: Cost and metric of dense networks.
        cost: What the network costs.
        metric: What it reaches.

    Returns:
        The difference; None if the cost is not between those of two dense networks.
    """
    points = sorted(curve)
    if len(points) < 2 or not points[0][0] <= cost <= points[-1][0]:
        return None
    costs, metrics = zip(*points)
    best = np.maximum.accumulate(metrics)  # nobody takes a network that costs more and does worse
    return metric - float(np.interp(cost, costs, best))
