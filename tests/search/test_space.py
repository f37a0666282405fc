"""Invariants of the search space, for any depths."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.space import SearchSpace

spaces = st.builds(
    SearchSpace,
    depths=st.lists(st.integers(1, 7), min_size=1, max_size=5).map(tuple),
    choices=st.lists(st.sampled_from([0, 0.1, 0.25, 0.5, 0.8, 0.95]), min_size=1).map(tuple),
    per=st.sampled_from(['pair', 'block']),
)


def assert_in_space(schedule, space):
    assert schedule.depths == space.depths
    PruningSchedule(schedule.ratios)  # valid and non-decreasing, or it raises
    for ratios in schedule.ratios:
        assert set(ratios) <= set(space.choices)
        if space.per == 'pair':
            pairs = [ratios[block : block + 2] for block in range(0, len(ratios), 2)]
            assert all(len(set(pair)) == 1 for pair in pairs)


@given(spaces, st.integers(0, 2**32), st.floats(0, 1))
def test_every_schedule_made_lies_in_the_space(space, seed, probability):
    rng = random.Random(seed)
    first, second = space.sample(rng), space.sample(rng)
    mutant = space.mutate(first, rng, probability)
    child = space.crossover(first, second, rng)
    for schedule in (first, second, mutant, child):
        assert_in_space(schedule, space)


@given(spaces, st.integers(0, 2**32))
def test_draws_depend_on_the_callers_state_alone(space, seed):
    random.seed(seed)
    before = random.getstate()
    first = space.sample(random.Random(seed))
    assert random.getstate() == before
    assert first == space.sample(random.Random(seed))


@given(spaces, st.integers(0, 2**32))
def test_edges_of_mutation_and_crossover(space, seed):
    rng = random.Random(seed)
    parent = space.sample(rng)
    assert space.mutate(parent, rng, 0) == parent
    assert space.crossover(parent, parent, rng) == parent


@pytest.mark.parametrize('per, size', [('pair', 3 * 3 * 10), ('block', 6 * 6 * 21)])
def test_size_is_the_number_of_schedules(per, size):
    space, rng = SearchSpace((2, 2, 5), (0.0, 0.3, 0.6), per), random.Random(0)
    assert space.size == size
    found = {space.sample(rng) for _ in range(20 * size)}
    assert 0.9 * size < len(found) <= size


def test_children_mix_their_parents():
    space, rng = SearchSpace((2, 2, 6, 2)), random.Random(0)
    children = {space.crossover(space.uniform(0), space.uniform(0.8), rng) for _ in range(200)}
    assert len(children) == 2 * 2 * 4 * 2


@pytest.mark.parametrize('wrong', [dict(choices=()), dict(choices=(1.0,)), dict(per='stage')])
def test_wrong_spaces_are_one_sentence(wrong):
    with pytest.raises(ConfigError) as error:
        SearchSpace((2, 2), **wrong)
    assert '\n' not in str(error.value)


NAMES = ('l2', 'contrast', 'peak')


def test_an_importance_is_drawn_mutated_and_inherited():
    space, rng = SearchSpace((2, 2), (0.3, 0.6), importances=NAMES), random.Random(0)
    drawn = [space.sample(rng) for _ in range(60)]
    assert {schedule.importance for schedule in drawn} == set(NAMES)
    first, second = (space.uniform(0.3, name) for name in ('l2', 'peak'))
    children = [space.crossover(first, second, rng).importance for _ in range(40)]
    assert set(children) == {'l2', 'peak'}
    assert {space.mutate(first, rng, 0.0).importance for _ in range(20)} == {'l2'}
    assert {space.mutate(first, rng, 1.0).importance for _ in range(40)} == set(NAMES)
    assert len({str(schedule) for schedule in drawn}) == len(set(drawn))


def test_a_dense_schedule_ranks_nothing():
    space, rng = SearchSpace((2, 2), (0.0, 0.5), importances=NAMES), random.Random(0)
    drawn = {space.sample(rng) for _ in range(400)}
    assert len(drawn) == space.size == 1 + 3 * 3
    assert [schedule.importance for schedule in drawn if schedule.is_dense] == [None]
    assert space.mutate(space.uniform(0.0), rng, 1.0).depths == (2, 2)


def test_without_importances_draws_are_as_ever():
    """The same random state as before there were importances to choose from."""
    space, rng, again = SearchSpace((2, 2, 6, 2)), random.Random(0), random.Random(0)
    schedule = space.sample(rng)
    assert schedule.importance is None
    assert schedule == PruningSchedule.sample((2, 2, 6, 2), again)
    assert rng.random() == again.random()


@pytest.mark.parametrize('wrong', [('largest',), ()])
def test_wrong_importances_are_one_sentence(wrong):
    with pytest.raises(ConfigError, match='importances? (is|are) .*, but must'):
        SearchSpace((2, 2), importances=wrong)


GENES = dict(scales=(0.7, 1.0, 0.85), proposals=(1000, 300))


def test_a_scale_and_proposals_are_drawn_mutated_and_inherited():
    space, rng = SearchSpace((2, 2), (0.3, 0.6), **GENES), random.Random(0)
    assert space.scales == (0.7, 0.85, 1.0) and space.proposals == (300, 1000)
    assert space.size == 2 * 2 * 3 * 2
    assert len({space.sample(rng) for _ in range(2000)}) == space.size
    first, second = space.uniform(0.3, None, 0.7, 300), space.uniform(0.3)
    assert (second.scale, second.proposals) == (1.0, 1000)
    children = [space.crossover(first, second, rng) for _ in range(60)]
    assert {(c.scale, c.proposals) for c in children} == {
        (0.7, 300), (0.7, 1000), (1.0, 300), (1.0, 1000),
    }  # fmt: skip
    assert space.mutate(first, rng, 0.0) == first
    mutants = [space.mutate(first, rng, 1.0) for _ in range(60)]
    assert {m.scale for m in mutants} == set(space.scales)
    assert {m.proposals for m in mutants} == set(space.proposals)


def test_without_scales_and_proposals_draws_are_as_ever():
    """One choice is no draw, whatever it is."""
    one = SearchSpace((2, 2, 6, 2), scales=(0.8,), proposals=(300,))
    plain, rng, again = SearchSpace((2, 2, 6, 2)), random.Random(0), random.Random(0)
    for _ in range(10):
        assert one.sample(rng).ratios == plain.sample(again).ratios
