"""The result of a search: the best schedule of each method, as data and as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.budget import Budget
from sparsevit_mm.search.cost import BACKBONE, show_cost
from sparsevit_mm.search.records import BESIDE_RATIOS, Evaluation


@dataclass(frozen=True)
class Objective:
    """The metric that a search optimizes.

    Attributes:
        metric: Key of the metric.
        less_is_better: Whether lower values are better, as for a loss.
    """

    metric: str
    less_is_better: bool = False

    def fitness(self, evaluation: Evaluation) -> float:
        """The metric with its sign such that higher is better; NaN is worst."""
        value = evaluation.metrics[self.metric]
        if math.isnan(value):
            return -math.inf
        return -value if self.less_is_better else value

    def best(self, evaluations: Sequence[Evaluation]) -> Evaluation | None:
        """The fittest evaluation; of equal ones the cheapest, then that of the lowest ratios."""
        return min(
            evaluations, key=lambda e: (-self.fitness(e), e.cost, e.schedule.ratios), default=None
        )


@dataclass(frozen=True)
class SearchResult:
    """Evaluated schedules of a search, and what they depend on.

    Attributes:
        objective: The metric that is optimized.
        budget: Allowed costs.
        dense: Evaluation of the dense network.
        found: Evaluations by method: 'evolution' and optionally 'random' (both inside the budget),
            'uniform' (one ratio everywhere, at any cost) and 'uniform within the budget' (the most
            expensive one that the budget allows).
        settings: Settings that the results depend on, JSON-ready.
        ending: For each search, how many schedules it drew and which limit ended it.
        measured: MACs of the best schedule, counted while the network ran; None if the budget is in
            milliseconds.
        of: What the costs are of, the 'model' or the 'backbone'.
        times: Measured times, JSON-ready.
    """

    objective: Objective
    budget: Budget
    dense: Evaluation
    found: Mapping[str, Sequence[Evaluation]]
    settings: Mapping[str, Any]
    ending: Mapping[str, Any]
    measured: float | None = None
    of: str = BACKBONE
    times: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> dict[str, Evaluation]:
        """The dense network and the best schedule of each method that keeps the budget."""
        rows = {'dense': self.dense}
        for name in ('uniform within the budget', 'random', 'evolution'):
            best = self.objective.best(self.found.get(name, ()))
            if best is not None:
                rows[name] = best
        return rows

    @property
    def best(self) -> Evaluation:
        """The best schedule that evolution found."""
        return self.rows['evolution']

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-ready data, which `PruningSchedule.from_dict` can read."""
        return {
            **self.best.schedule.to_dict(),
            'metric': {
                'key': self.objective.metric,
                'value': self.best.metrics[self.objective.metric],
            },
            'cost': {
                'of': self.of,
                'unit': self.budget.unit,
                'predicted': self.best.cost,
                'measured': self.measured,
                'dense': self.dense.cost,
            },
            'budget': {'lower': self.budget.lower, 'upper': self.budget.upper},
            'rows': {name: _row(evaluation) for name, evaluation in self.rows.items()},
            'ending': dict(self.ending),
            'settings': dict(self.settings),
            'times': dict(self.times),
        }

    def table(self) -> Table:
        """The rows as a table for the terminal."""
        table = Table(title=f'Budget of the {self.of}: {self.budget}')
        for column, justify in (('', 'left'), ('ratios', 'left'), ('cost', 'right'), ('', 'right')):
            table.add_column(column, justify=justify)  # type: ignore[arg-type]
        table.add_column(self.objective.metric, justify='right')
        for name, row in self.rows.items():
            table.add_row(
                name,
                show_ratios(row.schedule),
                show_cost(row.cost, self.budget.unit),
                f'{row.cost / self.dense.cost:.2f}x',
                f'{row.metrics[self.objective.metric]:.4g}',
            )
        return table


def show_ratios(schedule: PruningSchedule) -> str:
    """Formats the ratios of a schedule, one per pair of blocks if each pair has a common ratio."""
    stages = schedule.ratios
    if all(len(set(stage[i : i + 2])) == 1 for stage in stages for i in range(0, len(stage), 2)):
        stages = tuple(stage[::2] for stage in stages)
    text = ' '.join('[' + ' '.join(f'{ratio:g}' for ratio in stage) + ']' for stage in stages)
    return f'{text}{schedule.beside_ratios}'


def _row(evaluation: Evaluation) -> dict[str, Any]:
    data = evaluation.to_dict()
    return {
        key: data[key] for key in ('schedule', *BESIDE_RATIOS, 'cost', 'metrics') if key in data
    }
