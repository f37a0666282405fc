"""What arms cost: the whole model, with the parts in it."""

from __future__ import annotations

import pytest

from projects.aerial_study.costs import interleaved_ms, model_gmacs
from projects.aerial_study.plan import ARMS

ARM = {arm.name: arm for arm in ARMS['sparsevit']}


def test_sparse_heads_cost_less_of_the_whole_model(run):
    names = ('dense at 1×', 'contrast, backbone 50%', 'contrast, backbone 50%, heads 50%')
    dense, backbone, heads = (model_gmacs(run, ARM[name].case) for name in names)
    assert heads['model'] < backbone['model'] < dense['model']
    assert heads['backbone'] == backbone['backbone'] < dense['backbone']
    for found in (dense, backbone, heads):
        parts = sum(found[part] for part in ('backbone', 'neck', 'bbox_head'))
        assert parts == pytest.approx(found['model'], abs=2e-3)


def test_parts_take_most_of_the_time_of_the_whole_model(run):
    names = ('adapted with heads, nothing skipped', 'contrast, backbone 50%, heads 50%')
    timed = interleaved_ms({name: (run, ARM[name].case) for name in names}, range(2), 1)
    for found in timed.values():
        parts = [found[part] for part in ('backbone', 'neck', 'bbox_head')]
        assert min(parts) > 0
        assert sum(parts) < found['model']


def test_equal_costs_are_counted_once():
    twins = ARM['l2, backbone 70%'], ARM['contrast, backbone 70%']
    assert twins[0].costs_the_same_as(twins[1])
    assert not twins[0].costs_the_same_as(ARM['l2, backbone 50%'])
    assert not ARM['dense at 1×'].costs_the_same_as(ARM['dense at 0.7×'])


def test_every_arm_has_files_and_a_name_of_its_own():
    for arms in ARMS.values():
        assert len({(arm.data, arm.case.key) for arm in arms}) == len(arms)
        assert len({arm.name for arm in arms}) == len(arms)
