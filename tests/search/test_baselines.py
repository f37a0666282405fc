"""Uniform schedules and the Pareto front."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sparsevit_mm.search.baselines import uniform_schedules, uniform_within
from sparsevit_mm.search.budget import Budget
from sparsevit_mm.search.pareto import pareto_front
from sparsevit_mm.search.space import SearchSpace
from tests.helpers.costs import ToyCost

SPACE, COST = SearchSpace((2, 3)), ToyCost((2, 3))


def test_uniform_baseline_is_the_dearest_that_fits():
    found = uniform_within(SPACE, COST, Budget(0, 9.5, 'ms'))
    assert len({r for stage in found.ratios for r in stage}) == 1
    assert COST.price(found) <= 9.5
    others = [COST.price(SPACE.uniform(step / 200)) for step in range(200)]
    assert COST.price(found) == max(price for price in others if price <= 9.5)
    assert uniform_within(SPACE, COST, Budget(0, 1, 'ms')) is None
    assert [s.ratios[0][0] for s in uniform_schedules(SPACE)] == list(SPACE.choices)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_front_holds_exactly_what_nothing_beats(points):
    front = pareto_front([c for c, _ in points], [f for _, f in points])
    unbeaten = {
        (c, f)
        for c, f in points
        if not any((c2 <= c and f2 > f) or (c2 < c and f2 >= f) for c2, f2 in points)
    }
    assert {points[number] for number in front} == unbeaten
    assert len(front) == len(unbeaten)
    assert [points[number][0] for number in front] == sorted(c for c, _ in unbeaten)
