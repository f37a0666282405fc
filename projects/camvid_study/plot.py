"""mIoU over what an arm costs: dense networks as a curve over resolution, sparse ones beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from projects.camvid_study.findings import METRICS, Statistic, cost, over_seeds
from projects.camvid_study.plan import ARMS, BUDGETS, Arm
from sparsevit_mm.visualization.style import INK, new_plot, plain_axes

_COSTS = {
    'network_ms': 'network, ms, measured',
    'backbone_ms': 'backbone, ms, measured',
    'macs': 'backbone, MMACs, counted',
}
_TITLES = {'mIoU': 'mIoU, test split', 'small': 'IoU of small objects'}
_SERIES = {
    'dense, lower resolution': ('#16191f', 'D', '-', lambda arm: arm.curve),
    'searched, finetuned': ('#1f5f9e', '*', '-', lambda arm: _is(arm, 'searched', True)),
    'searched, finetuned at once': ('#3f8f5f', '^', '', lambda arm: 'at once' in arm.name),
    'uniform, finetuned': ('#d9822b', 's', '-', lambda arm: _is(arm, 'uniform', True)),
    'searched, adapted only': ('#7fb2e5', 'o', ':', lambda arm: _is(arm, 'searched', False)),
    'searched, random windows': ('#b0485f', 'x', ':', lambda arm: arm.importance == 'random'),
}  # fmt: skip


def draw_tradeoff(report: Mapping[str, Any]) -> Figure:
    """A row of panels for each metric, a panel for each cost; bars are the seeds' spread.

    Args:
        report: The results.
    """
    figure = new_plot(12.6, 7.2)
    panels = figure.subplots(len(METRICS), len(_COSTS), sharey='row')
    for row, (what, classes) in zip(panels, METRICS.items()):
        for axes, (key, title) in zip(row, _COSTS.items()):
            for label, (color, marker, line, belongs) in _SERIES.items():
                points = []
                for arm in filter(belongs, ARMS):
                    records = report['arms'].get(arm.key, {}).values()
                    found = over_seeds(report, arm, classes)
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


def _is(arm: Arm, kind: str, finetuned: bool) -> bool:
    state = 'finetuned' if finetuned else 'adapted only'
    return arm.name in [f'{kind} {budget}, {state}' for budget in BUDGETS]


def _unit(key: str) -> float:
    return 1e6 if key == 'macs' else 1.0
