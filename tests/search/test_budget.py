"""Bounds as people write them."""

from __future__ import annotations

import pytest

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.search.budget import Budget
from sparsevit_mm.search.space import SearchSpace
from tests.helpers.costs import ToyCost


@pytest.mark.parametrize(
    'text, unit, expected',
    [
        ('35ms', 'ms', (0, 35)),
        ('35', 'ms', (0, 35)),
        (35, 'ms', (0, 35)),
        ('35.5 ms', 'ms', (0, 35.5)),
        ('0.6x', 'ms', (0, 60)),
        ('.5x..0.6x', 'ms', (50, 60)),
        ('30ms..0.6x', 'ms', (30, 60)),
        ('29G', 'MACs', (0, 29e9)),
        ('29e9', 'MACs', (0, 29e9)),
        ('450M..0.5GMACs', 'MACs', (450e6, 500e6)),
        (29e9, 'MACs', (0, 29e9)),
    ],
)
def test_accepted_forms(text, unit, expected):
    budget = Budget.parse(text, unit, dense=100)
    assert (budget.lower, budget.upper) == pytest.approx(expected)


@pytest.mark.parametrize('unit', ['ms', 'MACs'])
@pytest.mark.parametrize(
    'text', ['', 'fast', '0', '-5', '5..4', '1..2..3', '35s', '3xx', '..', None]
)
def test_other_forms_are_one_sentence(text, unit):
    with pytest.raises(ConfigError, match='latency is|macs is') as error:
        Budget.parse(text, unit, dense=100)
    assert '\n' not in str(error.value)


def test_a_budget_holds_its_ends():
    budget = Budget(3, 5, 'ms')
    assert 3 in budget and 5 in budget
    assert 2.9 not in budget and 5.1 not in budget


@pytest.mark.parametrize('bounds', [(0, 5.5), (19.5, 30)])
def test_budget_out_of_reach_names_the_reachable_range(bounds):
    # 2 + 2 blocks of 10 windows at 0.1 and 0.2 ms: 11 ms dense, 5 + 2 * 0.1 + 2 * 0.2 at 0.8.
    space, cost = SearchSpace((2, 2)), ToyCost((2, 2))
    assert cost.reachable(space) == pytest.approx((5.6, 11))
    with pytest.raises(ConfigError, match=r'cannot be met: .* cost 5.60 ms to 11.0 ms') as error:
        Budget(*bounds, 'ms').check_reachable(cost, space)
    assert '\n' not in str(error.value)
    Budget(0, 5.7, 'ms').check_reachable(cost, space)
