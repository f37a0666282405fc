"""Plots mIoU over cost: dense networks of several resolutions, and sparse variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from projects.camvid_study.findings import METRICS, cost, over_seeds
from projects.camvid_study.plan import BUDGETS, VARIANTS, Variant
from projects.seeds import Statistic
from sparsevit_mm.visualization.style import INK, new_plot, plain_axes

_COSTS = {
    'network_ms': 'network, ms, measured',
    'backbone_ms': 'backbone, ms, measured',
    'macs': 'backbone, MMACs, counted',
}
_TITLES = {'mIoU': 'mIoU, test split', 'small': 'IoU of small objects'}
_SERIES = {
    'dense, lower resolution': ('#16191f', 'D', '-', lambda v: v.curve),
    'searched, finetuned': ('#1f5f9e', '*', '-', lambda v: _is(v, 'searched', True)),
    'searched, finetuned at once': ('#3f8f5f', '^', '', lambda v: 'at once' in v.name),
    'uniform, finetuned': ('#d9822b', 's', '-', lambda v: _is(v, 'uniform', True)),
    'searched, adapted only': ('#7fb2e5', 'o', ':', lambda v: _is(v, 'searched', False)),
    'searched, random windows': ('#b0485f', 'x', ':', lambda v: v.importance == 'random'),
}  # fmt: skip


def draw_tradeoff(report: Mapping[str, Any]) -> Figure:
    """Draws one row per metric and one column per cost; error bars are the spread over seeds.

    Args:
        report: The study's results.
    """
    figure = new_plot(12.6, 7.2)
    panels = figure.subplots(len(METRICS), len(_COSTS), sharey='row')
    for row, (what, classes) in zip(panels, METRICS.items()):
        for axes, (key, title) in zip(row, _COSTS.items()):
            for label, (color, marker, line, belongs) in _SERIES.items():
                points = []
                for variant in filter(belongs, VARIANTS):
                    records = report['variants'].get(variant.key, {}).values()
                    found = over_seeds(report, variant, classes)
                    if found is not None and all(key in record for record in records):
                        at = Statistic(tuple(cost(record, key) for record in records))
                        points.append((at.mean / _unit(key), found.mean, found.spread))
                if points:
                    x, y, spread = zip(*sorted(points))
                    axes.errorbar(
                        x, y, spread, color=color, marker=marker, linestyle=line, capsize=3,
                        markersize=9 if marker == '*' else 5, linewidth=1.2, label=label,
                    )  # fmt: skip
            axes.set_xlabel(title, color=INK)
            plain_axes(axes)
        row[0].set_ylabel(_TITLES[what], color=INK)
    panels[0][0].legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def _is(variant: Variant, kind: str, finetuned: bool) -> bool:
    state = 'finetuned' if finetuned else 'adapted only'
    return variant.name in [f'{kind} {budget}, {state}' for budget in BUDGETS]


def _unit(key: str) -> float:
    return 1e6 if key == 'macs' else 1.0
