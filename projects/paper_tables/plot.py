"""Plots accuracy over MACs and over latency, as the papers do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from projects.paper_tables.results import TableResults
from projects.paper_tables.table import PaperTable, Row
from sparsevit_mm.visualization.style import INK, SERIES_COLORS, new_plot, plain_axes

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
        The figure, or None if no row has both an accuracy and a cost.
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
        if any(cost(row) is not None and accuracy(row) is not None for row in rows)
    ]
    if not panels:
        return None
    figure = new_plot(4.4 * len(panels), 3.6)
    families = list(dict.fromkeys(row.family for row in rows))
    evaluated_any = False
    for number, (title, cost) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        for family, color in zip(families, SERIES_COLORS * len(families)):
            of_family = [row for row in rows if row.family == family]
            points = sorted(
                (x, *found)
                for row in of_family
                if (x := cost(row)) is not None and (found := accuracy(row)) is not None
            )
            if not points:
                continue
            axes.plot(
                [x for x, _, _ in points],
                [y for _, y, _ in points],
                color=color, linewidth=1.2, label=family,
            )  # fmt: skip
            for x, y, evaluated in points:
                evaluated_any |= evaluated
                axes.plot(
                    [x], [y], 'o', color=color, markersize=5,
                    markerfacecolor=color if evaluated else 'white',
                )  # fmt: skip
        axes.set_xlabel(title, color=INK)
        plain_axes(axes)
    first = figure.axes[0]
    first.set_ylabel(f'{headline.title}' + ('' if evaluated_any else ', paper'), color=INK)
    first.legend(frameon=False, fontsize=8, labelcolor=INK)
    if evaluated_any:
        first.set_title('filled: evaluated here; hollow: paper', fontsize=8, loc='left')
    return figure


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
