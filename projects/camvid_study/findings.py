"""Statistics of the study: means over seeds, and sparse variants against the dense curve.

A sparse network is compared with the dense ones at equal cost, for each seed: between the
resolutions that were trained, the dense networks' metric is interpolated linearly over the cost.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from projects.camvid_study.plan import CLASSES, SMALL_CLASSES, VARIANTS, Variant

COSTS = {
    'network_ms': "equal latency of the network",
    'backbone_ms': "equal latency of the backbone",
    'macs': "equal MACs of the backbone",
}  # fmt: skip
"""Costs that a comparison may hold equal, with their names in tables."""

METRICS = {'mIoU': CLASSES, 'small': SMALL_CLASSES}
"""Means of the IoU over these classes."""


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


def metric(record: Mapping[str, Any], classes: Sequence[str]) -> float:
    """Mean IoU of some classes in percent."""
    return statistics.fmean(record['IoU'][name] for name in classes)


def cost(record: Mapping[str, Any], key: str) -> float:
    """MACs, or the median latency in milliseconds."""
    return record[key] if key == 'macs' else record[key]['median']


def seeds_of(report: Mapping[str, Any], *variants: Variant) -> list[str]:
    """Seeds for which all given variants were tested."""
    found = [set(report['variants'].get(variant.key, {})) for variant in variants]
    return sorted(set.intersection(*found), key=int)


def over_seeds(
    report: Mapping[str, Any], variant: Variant, classes: Sequence[str]
) -> Statistic | None:
    """The metric of a variant for all seeds; None if it was not tested."""
    records = report['variants'].get(variant.key, {})
    if not records:
        return None
    return Statistic(tuple(metric(records[s], classes) for s in sorted(records, key=int)))


def against_curve(
    report: Mapping[str, Any], variant: Variant, key: str, classes: Sequence[str]
) -> Statistic | None:
    """Difference between a variant and dense networks of equal cost.

    Args:
        report: The study's results.
        variant: A sparse variant.
        key: A key of `COSTS`.
        classes: Classes of the metric.

    Returns:
        The difference in percentage points for every seed whose cost lies on the curve; None if
        there is none.
    """
    differences = []
    for seed in seeds_of(report, variant):
        own = report['variants'][variant.key][seed]
        curve = [
            report['variants'].get(dense.key, {}).get(seed, {}) for dense in VARIANTS if dense.curve
        ]
        points = sorted((cost(r, key), metric(r, classes)) for r in curve if key in r)
        if len(points) < 2 or key not in own:
            continue
        at = cost(own, key)
        if not points[0][0] <= at <= points[-1][0]:
            continue
        level = np.interp(at, [x for x, _ in points], [y for _, y in points])
        differences.append(metric(own, classes) - float(level))
    return Statistic(tuple(differences)) if differences else None


def against_variant(
    report: Mapping[str, Any], variant: Variant, other: Variant, classes: Sequence[str]
) -> Statistic | None:
    """Difference between two variants per seed; None if no seed has both."""
    differences = tuple(
        metric(report['variants'][variant.key][seed], classes)
        - metric(report['variants'][other.key][seed], classes)
        for seed in seeds_of(report, variant, other)
    )
    return Statistic(differences) if differences else None
