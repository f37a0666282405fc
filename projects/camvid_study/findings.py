"""What the evidence comes to: figures over seeds, and sparse arms against the dense curve.

A sparse network is held against the dense ones at equal cost, seed by seed: between the resolutions
that were trained, the dense networks' metric is interpolated linearly over the cost.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from projects.camvid_study.plan import ARMS, CLASSES, SMALL_CLASSES, Arm

COSTS = {
    'network_ms': "equal latency of the network",
    'backbone_ms': "equal latency of the backbone",
    'macs': "equal MACs of the backbone",
}  # fmt: skip
"""Keys of the costs that are equal in a comparison."""

METRICS = {'mIoU': CLASSES, 'small': SMALL_CLASSES}
"""Means of the IoU over these classes."""


@dataclass(frozen=True)
class Statistic:
    """A figure over seeds.

    Attributes:
        values: One a seed.
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
        """Whether a difference stands out from the seeds' spread."""
        if len(self.values) == 1:
            return 'one seed: no verdict'
        same_sign = len({value > 0 for value in self.values}) == 1
        if not same_sign or abs(self.mean) <= self.spread:
            return "within the seeds' spread"
        return 'better' if self.mean > 0 else 'worse'


def metric(record: Mapping[str, Any], classes: Sequence[str]) -> float:
    """Mean IoU in percent of some classes."""
    return statistics.fmean(record['IoU'][name] for name in classes)


def cost(record: Mapping[str, Any], key: str) -> float:
    """MACs, or the median latency in milliseconds."""
    return record[key] if key == 'macs' else record[key]['median']


def seeds_of(report: Mapping[str, Any], *arms: Arm) -> list[str]:
    """Seeds for which all of some arms were tested."""
    found = [set(report['arms'].get(arm.key, {})) for arm in arms]
    return sorted(set.intersection(*found), key=int)


def over_seeds(report: Mapping[str, Any], arm: Arm, classes: Sequence[str]) -> Statistic | None:
    """The metric of an arm, None if it was not tested."""
    records = report['arms'].get(arm.key, {})
    if not records:
        return None
    return Statistic(tuple(metric(records[s], classes) for s in sorted(records, key=int)))


def against_curve(
    report: Mapping[str, Any], arm: Arm, key: str, classes: Sequence[str]
) -> Statistic | None:
    """How much better an arm is than dense networks of equal cost.

    Args:
        report: The results.
        arm: A sparse arm.
        key: A key of `COSTS`.
        classes: Classes of the metric.

    Returns:
        The difference in percentage points for every seed whose cost lies on the curve; None if
        there is none.
    """
    differences = []
    for seed in seeds_of(report, arm):
        own = report['arms'][arm.key][seed]
        curve = [report['arms'].get(dense.key, {}).get(seed, {}) for dense in ARMS if dense.curve]
        points = sorted((cost(r, key), metric(r, classes)) for r in curve if key in r)
        if len(points) < 2 or key not in own:
            continue
        at = cost(own, key)
        if not points[0][0] <= at <= points[-1][0]:
            continue
        level = np.interp(at, [x for x, _ in points], [y for _, y in points])
        differences.append(metric(own, classes) - float(level))
    return Statistic(tuple(differences)) if differences else None


def against_arm(
    report: Mapping[str, Any], arm: Arm, other: Arm, classes: Sequence[str]
) -> Statistic | None:
    """How much better an arm is than another, seed by seed; None if never both were tested."""
    differences = tuple(
        metric(report['arms'][arm.key][seed], classes)
        - metric(report['arms'][other.key][seed], classes)
        for seed in seeds_of(report, arm, other)
    )
    return Statistic(differences) if differences else None
