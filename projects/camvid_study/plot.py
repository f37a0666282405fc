"""Plots mIoU over cost: dense networks of several resolutions, and sparse variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation, Transform

from projects.camvid_study.findings import METRICS, cost, over_seeds
from projects.camvid_study.plan import BUDGETS, VARIANTS, Variant
from projects.seeds import Statistic
from sparsevit_mm.visualization.style import INK, PLOT_WIDTH, new_plot, plain_axes

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
    """Draws one row per cost and one column per metric; error bars are the spread over seeds.

    Series are moved aside by a few pixels, because variants of one cost would cover each other.

    Args:
        report: The study's results.
    """
    figure = new_plot(PLOT_WIDTH, 10.4)
    panels = figure.subplots(len(_COSTS), len(METRICS), sharey='col')
    for column, (what, classes) in zip(panels.T, METRICS.items()):
        for axes, (key, title) in zip(column, _COSTS.items()):
            for place, (label, (color, marker, line, belongs)) in enumerate(_SERIES.items()):
                points = []
                for variant in filter(belongs, VARIANTS):
                    records = report['variants'].get(variant.key, {}).values()
                    found = over_seeds(report, variant, classes)
                    if found is not None and all(key in record for record in records):
                        at = Statistic(tuple(cost(record, key) for record in records))
                        points.append((at.mean / _unit(key), found.mean, found.spread))
                if points:
                    x, y, spread = zip(*sorted(points))
                    axes.update_datalim([(at, m + d) for at, m, s in points for d in (-s, s)])
                    axes.errorbar(
                        x, y, spread, color=color, marker=marker, linestyle=line, capsize=3,
                        markersize=10 if marker == '*' else 6, linewidth=1.2, elinewidth=0.7,
                        label=label, transform=_moved(axes, 3 * place - 7 if place else 0),
                    )  # fmt: skip
            axes.set_xlabel(title, color=INK)
            axes.set_ylabel(_TITLES[what], color=INK)
            axes.autoscale_view()
            plain_axes(axes)
    figure.legend(
        *panels[0][0].get_legend_handles_labels(), loc='outside upper left', ncols=2,
        frameon=False, fontsize=9, labelcolor=INK,
    )  # fmt: skip
    return figure


def _moved(axes: Axes, points: float) -> Transform:
    """The axes' own place of data, moved to the right by typographic points."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    return axes.transData + ScaledTranslation(points / 72, 0, figure.dpi_scale_trans)


def _is(variant: Variant, kind: str, finetuned: bool) -> bool:
    state = 'finetuned' if finetuned else 'adapted only'
    return variant.name in [f'{kind} {budget}, {state}' for budget in BUDGETS]


def _unit(key: str) -> float:
    return 1e6 if key == 'macs' else 1.0
