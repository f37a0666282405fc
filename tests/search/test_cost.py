"""Counted cost against the profiler; bounds of what a space can cost."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.profiling.macs import backbone_macs
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.cost import AdditiveCost, MacsCost, show_cost
from sparsevit_mm.search.space import SearchSpace


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple),
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 4),
    st.integers(0, 2**32),
)
@settings(deadline=None)
def test_macs_equal_the_profiler_exactly(depths, height, width, batch, seed):
    arch = SwinArch(12, depths, (1,) * len(depths), window_size=4, mlp_ratio=3)
    schedule = SearchSpace(depths).sample(random.Random(seed))
    price = MacsCost(arch, height, width, batch).price(schedule)
    assert price == backbone_macs(arch, schedule, height, width, batch).total
    assert isinstance(price, int)


class AnyCost(AdditiveCost):
    """Arbitrary entries, as a noisy table has them."""

    unit = 'ms'

    def __init__(self, depths, seed):
        rng = random.Random(seed)
        self.constant, self.num_windows = rng.random(), (10,) * len(depths)
        self.entries = {
            key: rng.random()
            for stage, depth in enumerate(depths)
            for key in itertools.product([stage], range(depth), range(1, 11))
        }

    def block_cost(self, stage, block, kept):
        return self.entries[stage, block, kept]


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple),
    st.sampled_from(['pair', 'block']),
    st.integers(0, 2**32),
)
@settings(deadline=None)
def test_reachable_range_is_exact(depths, per, seed):
    space, cost = SearchSpace(depths, (0.0, 0.35, 0.8), per), AnyCost(depths, seed)
    stages = [
        [
            stage
            for stage in itertools.product(space.choices, repeat=d)
            if list(stage) == sorted(stage)
        ]
        for d in depths
    ]
    schedules = [PruningSchedule(ratios) for ratios in itertools.product(*stages)]
    if per == 'pair':
        paired = [
            s for s in schedules
            if all(r[b] == r[b + 1] for r in s.ratios for b in range(0, len(r) - 1, 2))
        ]  # fmt: skip
        schedules = paired
    prices = [cost.price(schedule) for schedule in schedules]
    assert len(prices) == space.size
    assert cost.reachable(space) == pytest.approx((min(prices), max(prices)))


def test_costs_are_written_as_people_write_them():
    assert show_cost(29.08e9, 'MACs') == '29.08 GMACs'
    assert show_cost(518.3e6, 'MACs') == '518.3 MMACs'
    assert show_cost(35.21, 'ms') == '35.2 ms'
    assert show_cost(3.521, 'ms') == '3.52 ms'


class RankedCost(AnyCost):
    """Ranking costs something that depends on stage and importance."""

    def ranking_cost(self, stage, importance):
        return {None: 0.0, 'l2': 0.0, 'contrast': 3.0, 'peak': -2.0}[importance] * (stage + 1)


@pytest.mark.parametrize('seed', range(3))
def test_ranking_is_part_of_the_price_and_of_the_reachable_range(seed):
    names = ('l2', 'contrast', 'peak')
    space = SearchSpace((2, 1), (0.0, 0.35, 0.8), 'block', importances=names)
    cost, rng = RankedCost((2, 1), seed), random.Random(0)
    prices = {cost.price(space.sample(rng)) for _ in range(3000)}
    assert cost.reachable(space) == pytest.approx((min(prices), max(prices)))
    one = PruningSchedule(((0.0, 0.35), (0.0,)), importance='contrast')
    other = PruningSchedule(one.ratios, importance='l2')
    assert cost.price(one) - cost.price(other) == pytest.approx(3.0), 'only stage 0 ranks'
