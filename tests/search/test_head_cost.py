"""The cost of skipped windows of a neck and head: prices against what a model computes."""

from __future__ import annotations

import itertools
import random

import pytest
import torch

from sparsevit_mm.models.sparse_heads import make_heads_sparse
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.cost import HeadCost
from sparsevit_mm.search.latency_table import LatencyTable
from sparsevit_mm.search.measure import ModelBench
from sparsevit_mm.search.space import SearchSpace
from tests.helpers.head_networks import detector, segmentor
from tests.search.test_latency_table import table

HEADS = HeadCost(2.0, (10, 20, 0), ({5: -4.0, 2: -7.0}, {10: -1.0}, {}))


def test_a_price_has_the_coarse_pass_once():
    assert HEADS.price(()) == HEADS.price((0.0, 0.0, 0.0)) == 0
    assert HEADS.price((0.5, 0.0, 0.0)) == pytest.approx(2 - 4)
    assert HEADS.price((0.5, 0.5, 0.0)) == pytest.approx(2 - 4 - 1)
    assert HEADS.price((0.7, 0.0, 0.0)) == pytest.approx(2 - 6)  # 3 windows, between 2 and 5
    schedule = PruningSchedule(((0.0, 0.0), (0.0,)), head_ratios=(0.5, 0.0))
    assert table(heads=HEADS).price(schedule) == pytest.approx(
        table().price(PruningSchedule(schedule.ratios)) - 2
    )


@pytest.mark.parametrize('choices', [(0.0, 0.5, 0.8), (0.5, 0.8), (0.0,)])
@pytest.mark.parametrize('seed', range(3))
def test_the_reachable_range_is_exact(choices, seed):
    rng = random.Random(seed)
    stages = tuple({kept: rng.uniform(-3, 2) for kept in (5, 1, 10)} for _ in range(2))
    heads = HeadCost(rng.uniform(0, 2), (10, 10), stages)
    prices = [heads.price(ratios) for ratios in itertools.product(choices, repeat=2)]
    assert heads.reachable(choices, (True, True)) == pytest.approx((min(prices), max(prices)))


def test_a_file_keeps_it(tmp_path):
    table(heads=HEADS).save(tmp_path / 'table.json')
    assert LatencyTable.load(tmp_path / 'table.json').heads == HEADS


def test_head_ratios_are_drawn_mutated_and_inherited():
    space = SearchSpace((2, 2), (0.0, 0.5), head_stages=(True, False))
    rng = random.Random(0)
    drawn = {space.sample(rng) for _ in range(200)}
    assert len(drawn) == space.size == 2 * 2 * 2
    assert {schedule.head_ratios for schedule in drawn} == {(), (0.5, 0.0)}
    first, second = space.uniform(0.5), space.uniform(0.0)
    assert first.head_ratios == (0.5, 0.0) and second.head_ratios == ()
    children = {space.crossover(first, second, rng).head_ratios for _ in range(40)}
    mutants = {space.mutate(first, rng, 1.0).head_ratios for _ in range(40)}
    assert children == mutants == {(), (0.5, 0.0)}
    assert space.mutate(first, rng, 0.0) == first


@pytest.mark.parametrize('make, height, width', [(segmentor, 112, 112), (detector, 96, 160)])
def test_priced_macs_are_those_that_a_model_with_sparse_heads_computes(make, height, width):
    model = make_heads_sparse(make().eval())
    sample = _sample(make, height, width)
    batch = dict(inputs=[torch.zeros(3, height, width, dtype=torch.uint8)], data_samples=[sample])
    bench = ModelBench(model, [batch], height, width)
    stages = bench.prunable.head_stages
    space = SearchSpace((2, 2, 2, 2), (0.0, 0.4, 0.7), head_stages=stages)
    heads = bench.head_cost(space, lambda tried: [bench.count_macs(one) for one in tried])
    dense = bench.count_macs(PruningSchedule.dense(space.depths))
    rng = random.Random(0)
    for skipping in itertools.product(*((False, True) if has else (False,) for has in stages)):
        ratios = tuple(rng.choice(space.choices[1:]) * skips for skips in skipping)
        schedule = PruningSchedule(((0.0, 0.0),) * 4, head_ratios=ratios)
        assert dense + heads.price(ratios) == pytest.approx(bench.count_macs(schedule), rel=1e-9)


def _sample(make, height, width):
    side = dict(img_shape=(height, width), ori_shape=(height, width), pad_shape=(height, width))
    if make is segmentor:
        from mmseg.structures import SegDataSample

        return SegDataSample(metainfo=side)
    from mmdet.structures import DetDataSample

    return DetDataSample(metainfo=dict(side, scale_factor=(1.0, 1.0)))
