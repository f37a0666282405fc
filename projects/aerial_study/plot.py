"""Plots AP over resolution, and over what the model costs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from projects.aerial_study.plan import ARMS, IMPORTANCE, Arm
from projects.importance_study.plan import HEADS, SIZE
from projects.seeds import NOT_RUN, Statistic
from sparsevit_mm.visualization.point_names import name_points
from sparsevit_mm.visualization.style import FAINT_INK, INK, PLOT_WIDTH, new_plot, plain_axes

_SERIES = {
    'dense, lower resolution': ('#16191f', 'D', '-', lambda arm: arm.curve),
    'narrower, dense': ('#5c6370', 'v', '', lambda arm: 'narrower' in arm.name),
    f'backbone skips, {IMPORTANCE}': (
        '#d9822b', 's', '--', lambda arm: _adapted_with(IMPORTANCE, arm),
    ),
    'backbone skips, l2': ('#b0485f', 'x', ':', lambda arm: _adapted_with('l2', arm)),
    'backbone, neck and head skip': ('#1f5f9e', '*', '', lambda arm: _skips_in_heads(arm)),
    'dense, tuned at its size': ('#16191f', 'o', ':', lambda arm: _is_tuned(arm, sparse=False)),
    'sparse, tuned at its size': ('#1f5f9e', 'P', '', lambda arm: _is_tuned(arm, sparse=True)),
}  # fmt: skip
"""Color, marker, line and members of each series."""

_COSTS = {
    'gmacs': 'cost of the model, GMACs, counted',
    'ms': 'time of the model, ms, measured on one CPU core',
}


def draw(report: Mapping[str, Any]) -> Figure:
    """Draws AP over resolution, over MACs and over time, for each network whose costs are known.

    Points are named by what is skipped in the backbone, in neck and head, and the resolution.

    Args:
        report: Results of the study, with `arms`.
    """
    found = {
        name: arms
        for name, arms in report['arms'].items()
        if not name.startswith('drawn') and _tested(name, arms)
    }
    with_costs = {
        name: arms for name, arms in found.items() if any('gmacs' in arm for arm in arms.values())
    }
    found = with_costs or found
    trained = {arm.data for name in found for arm in ARMS[name]}
    found = {  # of one network that was trained for two times, only the longer
        name: arms for name, arms in found.items() if not _is_shorter(name, trained)
    }
    figure = new_plot(PLOT_WIDTH, 10.4 * max(len(found), 1))
    grid = figure.add_gridspec(3 * max(len(found), 1), 2, height_ratios=[2.4, 4, 4] * len(found))
    named = []
    for number, (network, records) in enumerate(found.items()):
        over_resolution = figure.add_subplot(grid[3 * number, 0])
        curve = [arm for arm in _tested(network, records) if arm.curve]
        points = [(arm.case.scale, _ap(records[arm.name])) for arm in curve]
        _plot(over_resolution, points, 'dense', *next(iter(_SERIES.values()))[:3])
        over_resolution.set_xlabel('size of the image, 1 is full size', color=INK)
        panels = [over_resolution]
        for place, (cost, title) in enumerate(_COSTS.items(), start=1):
            axes = figure.add_subplot(grid[3 * number + place, :])
            panels.append(axes)
            names = []
            for label, (color, marker, line, belongs) in _SERIES.items():
                arms = [arm for arm in _tested(network, records) if belongs(arm)]
                arms = [arm for arm in arms if cost in records[arm.name]]
                points = [
                    (records[arm.name][cost]['model'], _ap(records[arm.name])) for arm in arms
                ]
                _plot(axes, points, label, color, marker, line)
                names += [(x, ap.mean, _short_name(arm)) for arm, (x, ap) in zip(arms, points)]
            if not axes.containers:
                axes.text(0.5, 0.5, NOT_RUN, transform=axes.transAxes, ha='center', color=FAINT_INK)
            axes.set_xlabel(title, color=INK)
            named.append((axes, names))
        for axes in panels:
            axes.set_ylabel('box AP, test frames', color=INK)
            plain_axes(axes)
        over_resolution.legend(
            *panels[1].get_legend_handles_labels(), frameon=False, fontsize=9, labelcolor=INK,
            loc='upper left', bbox_to_anchor=(1.05, 1.02), alignment='left',
            title=network if len(found) > 1 else None,
        )  # fmt: skip
    for axes, names in named:
        name_points(axes, names)
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
            marker=marker, linestyle=line, capsize=3, markersize=10 if marker == '*' else 6,
            linewidth=1.2, elinewidth=0.7, label=label,
        )  # fmt: skip


def _short_name(arm: Arm) -> str:
    """What is skipped in the backbone, and in neck and head, and the resolution."""
    case = arm.case
    ratios = [case.ratio, *([max(case.head_ratios)] if case.head_ratios else [])]
    shares = '/'.join(f'{100 * ratio:g}' for ratio in ratios)
    skipped = '' if arm.curve or 'dense' in arm.name else f'{shares}%'
    at = f'{case.scale:g}×' if not skipped or case.scale != 1 else ''
    return ', '.join(filter(None, (skipped, at)))


def _is_shorter(network: str, trained: Collection[str]) -> bool:
    return any(arm.priced_as != arm.data and arm.priced_as in trained for arm in ARMS[network])


def _tested(network: str, records: Mapping[str, Any]) -> list[Arm]:
    return [arm for arm in ARMS[network] if records.get(arm.name, {}).get('seeds')]


def _ap(record: Mapping[str, Any]) -> Statistic:
    return Statistic(tuple(metrics['AP'] for metrics in record['seeds'].values()))


def _adapted_with(importance: str, arm: Arm) -> bool:
    return arm.case.weights == importance


def _skips_in_heads(arm: Arm) -> bool:
    skips = HEADS in arm.case.weights.split('+') and any(arm.case.head_ratios)
    return skips and SIZE not in arm.case.weights


def _is_tuned(arm: Arm, sparse: bool) -> bool:
    skips = bool(arm.case.ratio) or any(arm.case.head_ratios)
    return SIZE in arm.case.weights and sparse == skips
