"""Which schedule wins, and what is written of it."""

from __future__ import annotations

import json
import math

import pytest

from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.budget import Budget
from sparsevit_mm.search.records import Evaluation
from sparsevit_mm.search.results import Objective, SearchResult


def evaluation(ratio, metric, cost=5.0):
    schedule = PruningSchedule.parse(ratio, (2, 3))
    return Evaluation(schedule, cost, 'random', 0, {'m': metric}, 0.5)


def test_the_fittest_wins_then_the_cheapest_then_the_densest():
    three = [evaluation(0.3, 2.0), evaluation(0.2, 3.0, 7.0), evaluation(0.5, 3.0, 6.0)]
    assert Objective('m').best(three) == three[2]
    assert Objective('m', less_is_better=True).best(three) == three[0]
    equal = [evaluation(0.3, 2.0), evaluation(0.2, 2.0)]
    assert Objective('m').best(equal) == Objective('m').best(equal[::-1]) == equal[1]
    assert Objective('m').best([]) is None


@pytest.mark.parametrize('less', [True, False])
def test_a_metric_that_is_no_number_never_wins(less):
    objective = Objective('m', less)
    assert objective.best([evaluation(0.3, math.nan), evaluation(0.2, -9.0)]).metrics['m'] == -9


def test_the_file_is_a_schedule_with_its_story(tmp_path):
    result = SearchResult(
        objective=Objective('m'),
        budget=Budget(0, 6, 'ms'),
        dense=evaluation(0, 4.0, 9.0),
        found={
            'evolution': [evaluation(0.3, 2.0), evaluation(0.4, 3.0)],
            'random': [evaluation(0.3, 2.0)],
            'uniform': [evaluation(0.8, 9.0)],
        },
        settings={'seed': 1},
        ending={},
        times={'seconds': 3},
    )
    data = result.to_dict()
    (tmp_path / 'schedule.json').write_text(json.dumps(data))
    assert PruningSchedule.load(tmp_path / 'schedule.json') == evaluation(0.4, 3.0).schedule
    assert data['metric'] == {'key': 'm', 'value': 3.0}
    assert data['cost']['dense'] == 9.0
    # Uniform schedules of any cost are points of the plot, not rows of the comparison.
    assert list(data['rows']) == ['dense', 'random', 'evolution']
    assert result.table().row_count == 3
