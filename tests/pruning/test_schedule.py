"""Forms, checks, files and counts of pruning schedules."""

from __future__ import annotations

import dataclasses
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.allocation import build_allocation
from sparsevit_mm.pruning.importance import IMPORTANCES
from sparsevit_mm.pruning.schedule import (
    DEFAULT_CHOICES,
    KeptCount,
    PruningSchedule,
    num_kept_windows,
    stage_side,
)

DEPTHS = (2, 2, 6, 3)
A_BLOCK = ((0.6, 0.6), (0.0, 0.0), (0.2, 0.2, 0.4, 0.4, 0.5, 0.5), (0.1, 0.1, 0.3))


@pytest.mark.parametrize(
    'value, expected',
    [
        (0.5, tuple((0.5,) * depth for depth in DEPTHS)),
        (0, tuple((0.0,) * depth for depth in DEPTHS)),
        ([0.1, 0.2, 0.3, 0], ((0.1,) * 2, (0.2,) * 2, (0.3,) * 6, (0.0,) * 3)),
        ([[0.6], [0], [0.2, 0.4, 0.5], [0.1, 0.3]], A_BLOCK),
        ([list(stage) for stage in A_BLOCK], A_BLOCK),
        (((0.6,), (0,), (0.2, 0.4, 0.5), (0.1, 0.1, 0.3)), A_BLOCK),
        (PruningSchedule(A_BLOCK), A_BLOCK),
    ],
)
def test_accepted_forms(value, expected):
    assert PruningSchedule.parse(value, DEPTHS).ratios == expected


@pytest.mark.parametrize(
    'value',
    [
        None,
        True,
        '0.5',
        {'ratios': 0.5},
        [],
        [0.1, 0.2, 0.3],
        [0.1, 0.2, 0.3, [0.1]],
        [[0.1], [0.1], [0.1, 0.2], [0.1]],
        [[], [0.1], [0.1], [0.1]],
        [[0.1], [0.1], [0.1], [0.1], [0.1]],
        [[0.1], [0.1], ['a'], [0.1]],
        float('nan'),
    ],
)
def test_other_forms_show_the_accepted_ones(value):
    with pytest.raises(
        ConfigError, match='must be a number .* one number a stage .* a list a stage'
    ):
        PruningSchedule.parse(value, DEPTHS)


@pytest.mark.parametrize('value', [1, 1.0, -0.1, [[0.1], [0.1], [0.1], [0.5, 1.2]]])
def test_ratios_out_of_range(value):
    with pytest.raises(ConfigError, match='at least 0 and below 1'):
        PruningSchedule.parse(value, DEPTHS)


def test_ratios_must_not_decrease_inside_a_stage():
    with pytest.raises(ConfigError, match='stage 2 .* must not decrease'):
        PruningSchedule.parse([[0.1], [0.1], [0.4, 0.2, 0.5], [0.1]], DEPTHS)


def test_schedule_of_another_network():
    with pytest.raises(ConfigError, match=r'\(2, 2\) blocks.*\(2, 4\)'):
        PruningSchedule.parse(PruningSchedule.dense((2, 2)), (2, 4))


@pytest.mark.parametrize(
    'windows, ratio, kept',
    [(100, 0.8, 19), (576, 0.6, 230), (10, 0.5, 5), (1, 0.9, 1), (3, 0.8, 1), (49, 0.0, 49)],
)
def test_kept_windows_are_the_authors_expression(windows, ratio, kept):
    assert num_kept_windows(windows, ratio) == kept


def test_kept_windows_for_an_input_size():
    counts = PruningSchedule.parse([0.6, 0, 0.5, 0], (2, 2, 6, 2)).kept_windows(672, 672)
    assert [stage[0] for stage in counts] == [
        KeptCount(230, 576),
        KeptCount(144, 144),
        KeptCount(18, 36),
        KeptCount(9, 9),
    ]
    assert [len(stage) for stage in counts] == [2, 2, 6, 2]
    odd = PruningSchedule.dense((1, 1, 1)).kept_windows(9, 250, window_size=7)
    assert [stage[0].total for stage in odd] == [9, 5, 3]
    assert counts[2][0].share == 0.5


def test_stage_sides_round_up():
    assert [stage_side(250, stage) for stage in range(4)] == [63, 32, 16, 8]


def test_file_round_trip(tmp_path):
    schedule = PruningSchedule(A_BLOCK)
    path = tmp_path / 'schedule.json'
    schedule.save(path)
    assert PruningSchedule.load(path) == schedule
    richer = {**json.loads(path.read_text()), 'budget': '35ms', 'metric': 41.2}
    path.write_text(json.dumps(richer))
    assert PruningSchedule.load(path) == schedule


@pytest.mark.parametrize(
    'content, words',
    [
        (None, 'cannot be read: No such file'),
        ('not json', 'not valid JSON'),
        ('[1, 2]', "'ratios' are a list of lists"),
        ('{"ratios": [0.1]}', "'ratios' are a list of lists"),
        ('{"ratios": [[0.5, 0.1]]}', 'must not decrease'),
        ('{"ratios": [[1.5]]}', 'below 1'),
    ],
)
def test_unusable_files(tmp_path, content, words):
    path = tmp_path / 'schedule.json'
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=words):
        PruningSchedule.load(path)


@settings(deadline=None)
@given(depths=st.lists(st.integers(1, 9), min_size=1, max_size=5), seed=st.integers())
def test_samples_are_valid_and_reproducible(depths, seed):
    schedule = PruningSchedule.sample(depths, random.Random(seed))
    assert schedule.depths == tuple(depths)
    assert {ratio for stage in schedule.ratios for ratio in stage} <= set(DEFAULT_CHOICES)
    for stage in schedule.ratios:
        assert list(stage) == sorted(stage)
        assert all(stage[b] == stage[b + 1] for b in range(0, len(stage) - 1, 2))
    assert schedule == PruningSchedule.sample(depths, random.Random(seed))


def test_samples_use_every_choice_and_leave_the_global_generator_alone():
    random.seed(3)
    state = random.getstate()
    rng = random.Random(0)
    drawn = {
        ratio
        for _ in range(200)
        for stage in PruningSchedule.sample((2, 4), rng, (0, 0.5, 0.7)).ratios
        for ratio in stage
    }
    assert drawn == {0, 0.5, 0.7}
    assert random.getstate() == state


def test_dense_and_text():
    assert PruningSchedule.dense(DEPTHS).is_dense
    assert not PruningSchedule(A_BLOCK).is_dense
    assert str(PruningSchedule(((0.5, 0.5), (0.0,)))) == '[0.5, 0.5], [0]'


@pytest.mark.parametrize('allocation', ['image', 'batch', dict(type='batch', group_size=6)])
def test_a_file_tells_the_allocation(allocation, tmp_path):
    plain = PruningSchedule.parse(0.5, (2, 2))
    assert 'allocation' not in plain.to_dict()
    schedule = dataclasses.replace(plain, allocation=build_allocation(allocation))
    schedule.save(tmp_path / 'schedule.json')
    assert PruningSchedule.load(tmp_path / 'schedule.json') == schedule
    assert json.loads((tmp_path / 'schedule.json').read_text())['allocation'] == allocation


def test_a_file_with_an_unknown_allocation_is_one_sentence():
    with pytest.raises(ConfigError, match="allocation is 'frame', but must be"):
        PruningSchedule.from_dict({'ratios': [[0.5]], 'allocation': 'frame'})


def test_a_file_tells_the_importance(tmp_path):
    plain = PruningSchedule.parse(0.5, (2, 2))
    assert 'importance' not in plain.to_dict()
    assert PruningSchedule.from_dict(plain.to_dict()).importance is None
    schedule = dataclasses.replace(plain, importance='contrast')
    schedule.save(tmp_path / 'schedule.json')
    assert PruningSchedule.load(tmp_path / 'schedule.json') == schedule
    assert json.loads((tmp_path / 'schedule.json').read_text())['importance'] == 'contrast'
    assert PruningSchedule.parse(schedule, (2, 2)) == schedule


def test_schedules_that_differ_in_importance_alone_are_different_ones():
    ratios = ((0.5, 0.5),)
    schedules = [PruningSchedule(ratios, importance=name) for name in (None, 'l2', 'contrast')]
    assert len(set(schedules)) == len({str(schedule) for schedule in schedules}) == 3


@pytest.mark.parametrize('wrong', ['largest', 3, ['l2'], dict(type='l2')])
def test_a_file_with_an_unknown_importance_is_one_sentence(wrong):
    known = ', '.join(sorted(IMPORTANCES.module_dict))
    message = rf'importance is .*, but must be one of {known}\.'
    with pytest.raises(ConfigError, match=message):
        PruningSchedule.from_dict({'ratios': [[0.5]], 'importance': wrong})


HEADS = (0.7, 0.5, 0.0, 0.0)


def test_head_ratios_are_part_of_a_schedule(tmp_path):
    schedule = PruningSchedule.parse(dict(ratios=0.5, head_ratios=list(HEADS)), DEPTHS)
    assert schedule.head_ratios == HEADS
    assert not PruningSchedule.parse(dict(ratios=0, head_ratios=HEADS), DEPTHS).is_dense
    assert schedule != PruningSchedule.parse(0.5, DEPTHS)
    assert str(schedule).endswith('heads [0.7, 0.5, 0, 0]')
    schedule.save(tmp_path / 'schedule.json')
    assert PruningSchedule.load(tmp_path / 'schedule.json') == schedule


def test_head_ratios_of_0_and_files_without_them_are_dense(tmp_path):
    dense = PruningSchedule.parse(dict(ratios=0.5, head_ratios=(0, 0, 0, 0)), DEPTHS)
    assert dense == PruningSchedule.parse(0.5, DEPTHS)
    dense.save(tmp_path / 'schedule.json')
    assert 'head_ratios' not in json.loads((tmp_path / 'schedule.json').read_text())
    assert PruningSchedule.load(tmp_path / 'schedule.json').head_ratios == ()


@pytest.mark.parametrize(
    'wrong, words',
    [
        ([0.5], 'one number for each of the 4 stages'),
        (0.5, 'one number for each of the 4 stages'),
        ('half', 'one number for each of the 4 stages'),
        ([0.5, 'x', 0, 0], 'one number for each of the 4 stages'),
        ([0, 1, 0, 0], 'head_ratios of stage 1 is 1, but must be at least 0 and below 1'),
        ([-0.1, 0, 0, 0], 'head_ratios of stage 0 is -0.1'),
    ],
)
def test_wrong_head_ratios(wrong, words):
    with pytest.raises(ConfigError, match=words):
        PruningSchedule.parse(dict(ratios=0.5, head_ratios=wrong), DEPTHS)
    with pytest.raises(ConfigError, match=words):
        PruningSchedule.from_dict({**PruningSchedule.dense(DEPTHS).to_dict(), 'head_ratios': wrong})


def test_head_ratios_are_for_stages_that_have_something_to_skip():
    schedule = PruningSchedule.parse(dict(ratios=0, head_ratios=HEADS), DEPTHS)
    assert schedule.checked_for_heads((True, True, False, False)) is schedule
    with pytest.raises(ConfigError, match=r'head_ratios of stage 1 is 0.5, but must be 0.*stage 0'):
        schedule.checked_for_heads((True, False, False, False))
    with pytest.raises(ConfigError, match='neck and head of this model compute no windows'):
        schedule.checked_for_heads(None)


def test_head_ratios_are_drawn_after_all_others():
    without = PruningSchedule.sample(DEPTHS, random.Random(3))
    drawn = PruningSchedule.sample(
        DEPTHS, random.Random(3), (0.3, 0.5), head_stages=(True, False, True, False)
    )
    assert PruningSchedule.sample(DEPTHS, random.Random(3), (0.3, 0.5)).ratios == drawn.ratios
    assert without.head_ratios == ()
    assert [ratio > 0 for ratio in drawn.head_ratios] == [True, False, True, False]
