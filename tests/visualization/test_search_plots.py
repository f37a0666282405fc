"""Plots of a search show every point that was evaluated."""

from __future__ import annotations

import random

import pytest

from sparsevit_mm.search.budget import Budget
from sparsevit_mm.search.records import Evaluation
from sparsevit_mm.search.results import Objective, SearchResult, show_ratios
from sparsevit_mm.search.space import SearchSpace
from sparsevit_mm.visualization.search_plots import draw_ratios, draw_search
from tests.helpers.costs import ToyCost

SPACE = SearchSpace((2, 2, 6, 2))
COST = ToyCost(SPACE.depths)


def evaluation(schedule, origin='random', generation=0):
    cost = COST.price(schedule)
    return Evaluation(schedule, cost, origin, generation, {'mIoU': 30 + cost / 3}, 0.1)


def search_result(random_points=0, **changes):
    rng = random.Random(0)
    evolved = [evaluation(SPACE.sample(rng), 'mutation' if n > 5 else 'random') for n in range(12)]
    found = {'evolution': evolved}
    if random_points:
        found['random'] = [evaluation(SPACE.sample(rng)) for _ in range(random_points)]
        found['uniform'] = [evaluation(SPACE.uniform(r), 'uniform', None) for r in SPACE.choices]
    settings = dict(
        objective=Objective('mIoU'),
        budget=Budget(0, 20, 'ms'),
        dense=evaluation(SPACE.uniform(0), 'dense', None),
        found=found,
        settings={},
        ending={},
    )
    return SearchResult(**{**settings, **changes})


@pytest.mark.parametrize('random_points, labels', [(0, 5), (7, 6)])
def test_every_kind_of_point_is_drawn(random_points, labels):
    figure = draw_search(search_result(random_points))
    (axes,) = figure.axes
    lines = {line.get_label(): len(line.get_xdata()) for line in axes.get_lines()}
    assert lines['dense'] == lines['the result'] == 1
    assert lines['evolution'] == 6
    assert lines['random'] == 6 + random_points
    assert lines.get('uniform', 0) == (9 if random_points else 0)
    assert len(lines) == labels
    figure.canvas.draw()


def test_ratios_of_every_block_are_drawn():
    figure = draw_ratios(search_result())
    (axes,) = figure.axes
    heights = [bar.get_height() for bar in axes.patches]
    best = search_result().best.schedule
    assert heights == [ratio for stage in best.ratios for ratio in stage]
    figure.canvas.draw()


def test_ratios_as_text():
    assert show_ratios(SPACE.uniform(0.5)) == '[0.5] [0.5] [0.5 0.5 0.5] [0.5]'
    blocks = SearchSpace((2, 1), per='block')
    assert show_ratios(blocks.sample(random.Random(1))).count('[') == 2
