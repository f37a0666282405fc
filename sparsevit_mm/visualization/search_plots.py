"""Plots of a search: every candidate's metric over its cost, and the resulting ratios."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from matplotlib.figure import Figure

from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.cost import MACS
from sparsevit_mm.search.pareto import pareto_front
from sparsevit_mm.search.records import Evaluation
from sparsevit_mm.search.results import SearchResult
from sparsevit_mm.visualization.style import (
    FAINT_INK,
    INK,
    SERIES_COLORS,
    new_plot,
    plain_axes,
)

_BAND = '#f0f2f5'
_RANDOM, _EVOLVED, _UNIFORM, _FRONT = '#5c6370', '#7fb2e5', '#d9822b', '#1f5f9e'


def draw_search(result: SearchResult) -> Figure:
    """Metric over cost: candidates, their Pareto front, and dense, uniform and random points.

    Args:
        result: The search.

    Returns:
        The figure; the budget is the shaded band.
    """
    figure, key = new_plot(7, 4.6), result.objective.metric
    axes = figure.add_subplot()
    scale, unit = _scale(result)

    def points(evaluations: Sequence[Evaluation]) -> tuple[list[float], list[float]]:
        return [e.cost / scale for e in evaluations], [e.metrics[key] for e in evaluations]

    everything = [result.dense, *itertools.chain.from_iterable(result.found.values())]
    low, high = result.budget.lower, min(result.budget.upper, max(e.cost for e in everything))
    axes.axvspan(max(low, min(e.cost for e in everything)) / scale, high / scale, color=_BAND)
    generations = [e for e in result.found['evolution'] if e.origin in ('mutation', 'crossover')]
    drawn = [e for e in (*result.found['evolution'], *result.found.get('random', ())) if
             e.origin == 'random']  # fmt: skip
    axes.plot(*points(drawn), 'x', color=_RANDOM, markersize=5, label='random')
    axes.plot(*points(generations), 'o', color=_EVOLVED, markersize=4, label='evolution')
    uniform = sorted(
        [*result.found.get('uniform', ()), *result.found.get('uniform within the budget', ())],
        key=lambda evaluation: evaluation.cost,
    )
    if uniform:
        axes.plot(
            *points(uniform), color=_UNIFORM, marker='s', markersize=4, linewidth=1, label='uniform'
        )
    front = pareto_front(
        [e.cost for e in everything], [result.objective.fitness(e) for e in everything]
    )
    axes.plot(
        *points([everything[number] for number in front]),
        color=_FRONT, linewidth=1.4, drawstyle='steps-post', label='Pareto front',
    )  # fmt: skip
    axes.plot(*points([result.dense]), color=INK, marker='D', linestyle='none', label='dense')
    axes.plot(
        *points([result.best]), color=_FRONT, marker='*', markersize=13, linestyle='none',
        label='the result',
    )  # fmt: skip
    axes.set_xlabel(f'cost of the {result.of}, {unit}', color=INK)
    axes.set_ylabel(key, color=INK)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    plain_axes(axes)
    return figure


def draw_ratios(result: SearchResult) -> Figure:
    """The share of windows that every block skips, stage by stage, with what that costs.

    Args:
        result: The search.
    """
    schedule: PruningSchedule = result.best.schedule
    figure = new_plot(max(5.0, 0.32 * sum(schedule.depths) + 2), 3.2)
    axes = figure.add_subplot()
    first, middles = 0.0, []
    for stage, ratios in enumerate(schedule.ratios):
        places = [first + block for block in range(len(ratios))]
        axes.bar(
            places, ratios, width=0.8, color=SERIES_COLORS[stage % len(SERIES_COLORS)], zorder=2
        )
        for place, ratio in zip(places, ratios):
            axes.annotate(
                f'{ratio:g}', (place, ratio), (0, 2), textcoords='offset points', ha='center',
                fontsize=8, color=FAINT_INK,
            )  # fmt: skip
        middles.append(sum(places) / len(places))
        first = places[-1] + 1.8
    axes.set_xticks(middles, [f'stage {number}' for number in range(len(middles))])
    axes.set_ylim(0, 1)
    axes.set_ylabel('windows skipped', color=INK)
    axes.yaxis.set_major_formatter(lambda share, _: f'{share:.0%}')
    scale, unit = _scale(result)
    best, key = result.best, result.objective.metric
    axes.set_title(
        f'{key} {best.metrics[key]:.4g} at {best.cost / scale:.4g} {unit}, '
        f'{best.cost / result.dense.cost:.2f} of dense',
        fontsize=9, color=INK, loc='left',
    )  # fmt: skip
    plain_axes(axes, grid='y')
    return figure


def _scale(result: SearchResult) -> tuple[float, str]:
    """What costs are divided by, and the unit they have then."""
    if result.budget.unit != MACS:
        return 1.0, result.budget.unit
    return (1e9, 'GMACs') if result.dense.cost >= 1e9 else (1e6, 'MMACs')
