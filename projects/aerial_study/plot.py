"""Plots AP over resolution, and over what the model costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from projects.aerial_study.plan import ARMS, IMPORTANCE, Arm
from projects.importance_study.plan import HEADS
from projects.seeds import NOT_RUN, Statistic
from sparsevit_mm.visualization.style import FAINT_INK, INK, new_plot, plain_axes

_SERIES = {
    'dense, lower resolution': ('#16191f', 'D', '-', lambda arm: arm.curve),
    'narrower, dense': ('#5c6370', 'v', '', lambda arm: 'narrower' in arm.name),
    f'backbone skips, {IMPORTANCE}': (
        '#d9822b', 's', '--', lambda arm: _adapted_with(IMPORTANCE, arm),
    ),
    'backbone skips, l2': ('#b0485f', 'x', ':', lambda arm: _adapted_with('l2', arm)),
    'backbone, neck and head skip': ('#1f5f9e', '*', '', lambda arm: _skips_in_heads(arm)),
}  # fmt: skip
"""Color, marker, line and members of each series."""


def draw(report: Mapping[str, Any]) -> Figure:
    """Draws a row for each network: AP over resolution, over MACs, and over time if it is known.

    Args:
        report: Results of the study, with `arms`.
    """
    found = {
        name: arms
        for name, arms in report['arms'].items()
        if not name.startswith('drawn') and _tested(name, arms)
    }
    figure = new_plot(12.6, 3.9 * max(len(found), 1))
    panels = figure.subplots(max(len(found), 1), 3, sharey='row', squeeze=False)
    for row, (network, records) in zip(panels, found.items()):
        curve = [arm for arm in _tested(network, records) if arm.curve]
        points = [(arm.case.scale, _ap(records[arm.name])) for arm in curve]
        _plot(row[0], points, 'dense', *next(iter(_SERIES.values()))[:3])
        row[0].set_xlabel('size of the image, of full', color=INK)
        row[0].set_ylabel(f'{network}: box AP, test split', color=INK)
        for axes, cost, title in (
            (row[1], 'gmacs', 'model, GMACs, counted'),
            (row[2], 'ms', 'model, ms, measured'),
        ):
            for label, (color, marker, line, belongs) in _SERIES.items():
                arms = [arm for arm in _tested(network, records) if belongs(arm)]
                arms = [arm for arm in arms if cost in records[arm.name]]
                points = [
                    (records[arm.name][cost]['model'], _ap(records[arm.name])) for arm in arms
                ]
                _plot(axes, points, label, color, marker, line)
            if not axes.containers:
                axes.text(0.5, 0.5, NOT_RUN, transform=axes.transAxes, ha='center', color=FAINT_INK)
            axes.set_xlabel(title, color=INK)
        for axes in row:
            plain_axes(axes)
        if row[1].containers:
            row[1].legend(frameon=False, fontsize=8, labelcolor=INK, loc='lower right')
    return figure


def _plot(
    axes: Axes,
    points: list[tuple[float, Statistic]],
    label: str,
    color: str,
    marker: str,
    line: str,
) -> None:
    if points:
        x, found = zip(*sorted(points, key=lambda point: point[0]))
        axes.errorbar(
            x, [each.mean for each in found], [each.spread for each in found], color=color,
            marker=marker, linestyle=line, capsize=3, markersize=9 if marker == '*' else 5,
            linewidth=1.2, label=label,
        )  # fmt: skip


def _tested(network: str, records: Mapping[str, Any]) -> list[Arm]:
    return [arm for arm in ARMS[network] if records.get(arm.name, {}).get('seeds')]


def _ap(record: Mapping[str, Any]) -> Statistic:
    return Statistic(tuple(metrics['AP'] for metrics in record['seeds'].values()))


def _adapted_with(importance: str, arm: Arm) -> bool:
    return arm.case.weights == importance


def _skips_in_heads(arm: Arm) -> bool:
    return HEADS in arm.case.weights.split('+') and any(arm.case.head_ratios)
