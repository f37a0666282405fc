"""Statistics of the study: means over seeds, and sparse variants against the dense curve."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from projects.camvid_study.plan import CLASSES, SMALL_CLASSES, VARIANTS, Variant
from projects.seeds import Statistic, above_curve

COSTS = {
    'network_ms': "equal latency of the network",
    'backbone_ms': "equal latency of the backbone",
    'macs': "equal MACs of the backbone",
}  # fmt: skip
"""Costs that a comparison may hold equal, with their names in tables."""

METRICS = {'mIoU': CLASSES, 'small': SMALL_CLASSES}
"""Means of the IoU over these classes."""


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
        if key not in own:
            continue
        points = [(cost(r, key), metric(r, classes)) for r in curve if key in r]
        difference = above_curve(points, cost(own, key), metric(own, classes))
        if difference is not None:
            differences.append(difference)
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
