"""Plots accuracy over MACs and over latency, as the papers do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from projects.paper_tables.results import TableResults
from projects.paper_tables.table import PaperTable, Row
from sparsevit_mm.visualization.point_names import name_points
from sparsevit_mm.visualization.style import (
    INK,
    PLOT_WIDTH,
    SERIES_COLORS,
    SERIES_MARKERS,
    new_plot,
    plain_axes,
)

_Figure = Callable[[Row], 'float | None']


def draw_table(table: PaperTable, results: TableResults, rows: Sequence[Row]) -> Figure | None:
    """Plots accuracy over cost, with one panel for each known cost.

    Accuracy is the one evaluated here if there is one, otherwise the published one. Axis labels
    name the cost.

    Args:
        table: The table.
        results: Its results.
        rows: The rows to show.

    Returns:
        The figure, or None if fewer than two rows have both an accuracy and a cost.
    """
    headline = table.columns[table.headline]

    def accuracy(row: Row) -> tuple[float, bool] | None:
        found = results.of(row.name).accuracy.get(headline.metric or '')
        if found is not None:
            return found * headline.factor, True
        published = row.published.get(table.headline)
        return None if published is None else (published, False)

    panels = [
        (title, cost)
        for title, cost in _costs(table, results)
        if sum(cost(row) is not None and accuracy(row) is not None for row in rows) > 1
    ]
    if not panels:
        return None
    rows_of_panels = (len(panels) + 1) // 2
    figure = new_plot(PLOT_WIDTH * min(len(panels), 2) / 2, 3.7 * rows_of_panels)
    families = list(dict.fromkeys(row.family for row in rows))
    looks = dict(zip(families, itertools.cycle(zip(SERIES_COLORS, SERIES_MARKERS))))
    named, evaluated_any = [], False
    for number, (title, cost) in enumerate(panels):
        axes = figure.add_subplot(rows_of_panels, min(len(panels), 2), number + 1)
        names = []
        for family, (color, marker) in looks.items():
            of_family = [row for row in rows if row.family == family]
            points = sorted(
                (x, *found, _short_name(row, of_family))
                for row in of_family
                if (x := cost(row)) is not None and (found := accuracy(row)) is not None
            )
            if not points:
                continue
            axes.plot(
                [x for x, *_ in points],
                [y for _, y, *_ in points],
                color=color, linewidth=1.2, label=family, marker=marker, markersize=6,
                markerfacecolor='white',
            )  # fmt: skip
            for x, y, evaluated, label in points:
                evaluated_any |= evaluated
                names.append((x, y, label))
                if evaluated:
                    axes.plot([x], [y], marker, color=color, markersize=6)
        axes.set_xlabel(title, color=INK)
        axes.margins(0.12)
        plain_axes(axes)
        if number == 0:
            axes.set_ylabel(headline.title + ('' if evaluated_any else ', paper'), color=INK)
        named.append((axes, names))
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc='outside upper left', ncols=3,
        frameon=False, fontsize=9, labelcolor=INK,
    )  # fmt: skip
    for axes, names in named:
        name_points(axes, names)
    if evaluated_any:
        title = 'filled: evaluated here; hollow: paper'
        figure.axes[0].set_title(title, fontsize=9, loc='left')
    return figure


def _short_name(row: Row, family: Sequence[Row]) -> str:
    """The row's label without the words that all of its family share, or else its input."""
    words = [member.label.split() for member in family if len(family) > 1]
    equal = [len(set(places)) == 1 for places in zip(*words)]
    shared = equal.index(False) if False in equal else len(equal)
    return ' '.join(row.label.split()[shared:]) or f'{row.height}×{row.width}'


def _costs(table: PaperTable, results: TableResults) -> list[tuple[str, _Figure]]:
    def macs(row: Row) -> float | None:
        found = results.of(row.name).macs
        return None if found is None else found / 1e9

    def measured(row: Row) -> float | None:
        latency = results.latency(row.name)
        return None if latency is None else latency.median

    costs: list[tuple[str, _Figure]] = [('GMACs, counted', macs)]
    if results.conditions is not None:
        costs.append((f'ms, measured on {results.conditions.device.partition(",")[0]}', measured))
    if 'ms' in table.columns:
        costs.append(('ms, paper', lambda row: row.published.get('ms')))
    return costs
