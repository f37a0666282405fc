"""What a search may propose, where it ends, and that it finds what is good."""

from __future__ import annotations

import math
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.budget import Budget
from sparsevit_mm.search.evolution import EvolutionSettings, evolve, random_search
from sparsevit_mm.search.space import SearchSpace
from tests.helpers.costs import ToyCost
from tests.search.test_space import assert_in_space, spaces


def fitness_of(proposal):
    """Prefers to prune the middle stages, and pays for what is kept."""
    stages = proposal.schedule.ratios
    wanted = [0.8 if stage % 2 else 0.0 for stage in range(len(stages))]
    return -sum(abs(r - w) for ratios, w in zip(stages, wanted) for r in ratios)


@pytest.mark.parametrize('search', [evolve, random_search])
@given(spaces, st.integers(0, 2**32), st.floats(0.2, 1), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None, max_examples=30)
def test_every_proposal_is_new_valid_and_within_the_budget(search, space, seed, upper, share, odds):
    cost = ToyCost(space.depths)
    low, high = cost.reachable(space)
    # Sums of floats in another order differ in their last digit.
    budget = Budget(low - 1e-9, low + upper * (high - low) + 1e-9, 'ms')
    numbers = EvolutionSettings(8, 3, share, odds, 300, 40, seed)
    asked = []

    def evaluate(proposal):
        asked.append(proposal)
        return fitness_of(proposal)

    try:
        trace = search(space, cost, budget, numbers, evaluate)
    except ConfigError as error:
        assert not asked and 'none of 300 schedules drawn' in str(error)
        return
    assert list(trace.proposals) == asked
    schedules = [proposal.schedule for proposal in asked]
    assert len(set(schedules)) == len(schedules) <= 40
    assert trace.draws <= 300
    for proposal in asked:
        assert_in_space(proposal.schedule, space)
        assert proposal.cost == cost.price(proposal.schedule)
        assert proposal.cost in budget


def search_toy(search=evolve, **changes):
    space = SearchSpace((2, 2, 6, 2))
    cost = ToyCost(space.depths)
    budget = Budget.parse('0.5x..0.7x', 'ms', cost.price(PruningSchedule.dense(space.depths)))
    numbers = EvolutionSettings(
        **{**dict(population=30, parents=8, max_evaluations=200), **changes}
    )
    return search(space, cost, budget, numbers, fitness_of)


def test_evolution_beats_random_search_with_as_many_evaluations():
    def best(trace):
        return max(map(fitness_of, trace.proposals))

    wins = [
        best(search_toy(evolve, seed=seed)) >= best(search_toy(random_search, seed=seed))
        for seed in range(10)
    ]
    assert sum(wins) >= 9


def test_a_search_depends_on_its_seed_alone():
    assert search_toy(seed=1) == search_toy(seed=1)
    assert search_toy(seed=1) != search_toy(seed=2)


def test_random_search_begins_as_evolution_does():
    evolved, drawn = search_toy(evolve), search_toy(random_search)
    assert evolved.proposals[:30] == drawn.proposals[:30]
    assert evolved.proposals != drawn.proposals


def test_generations_are_made_as_in_the_paper():
    trace = search_toy()
    assert trace.ended_by == 'max_evaluations'
    assert len(trace.proposals) == 200
    origins = {
        generation: {p.origin for p in trace.proposals if p.generation == generation}
        for generation in {p.generation for p in trace.proposals}
    }
    assert origins.pop(0) == {'random'}
    assert set().union(*origins.values()) == {'mutation', 'crossover'}
    for name, share in (('mutation', 1.0), ('crossover', 0.0)):
        made = {p.origin for p in search_toy(mutation_share=share).proposals if p.generation}
        assert made == {name}


def test_the_cap_on_draws_ends_a_search():
    trace = search_toy(max_draws=50)
    assert (trace.draws, trace.ended_by) == (50, 'max_draws')
    # A space smaller than the population is searched to its end.
    space, cost = SearchSpace((2,), (0.0, 0.4, 0.8)), ToyCost((2,))
    trace = evolve(space, cost, Budget(0, 100, 'ms'), EvolutionSettings(max_draws=200), fitness_of)
    assert (len(trace.proposals), trace.ended_by) == (3, 'max_draws')


def test_a_budget_between_what_schedules_cost_is_one_sentence():
    space, cost = SearchSpace((2,), (0.0, 0.8)), ToyCost((2,))
    with pytest.raises(ConfigError, match='none of 60 .* cost 5.20 ms to 7.00 ms') as error:
        evolve(space, cost, Budget(5.8, 6, 'ms'), EvolutionSettings(max_draws=60), fitness_of)
    assert '\n' not in str(error.value)
    with pytest.raises(ConfigError, match='cannot be met'):
        evolve(space, cost, Budget(1, 2, 'ms'), EvolutionSettings(), fitness_of)


def test_a_metric_without_a_number_is_worst():
    space = SearchSpace((2, 2))
    numbers = EvolutionSettings(population=10, parents=1, max_evaluations=40, mutation_share=0)
    asked = []

    def evaluate(proposal):
        asked.append(proposal)
        return 1.0 if len(asked) == 4 else math.nan

    # With one parent and crossover alone, the next generation is that parent again and again.
    evolve(space, ToyCost((2, 2)), Budget(0, 100, 'ms'), numbers, evaluate)
    assert len(asked) == 10


@pytest.mark.parametrize(
    'wrong',
    [
        dict(population=0),
        dict(parents=0),
        dict(parents=101),
        dict(mutation_share=1.5),
        dict(mutation_probability=-0.1),
        dict(max_draws=0),
        dict(max_evaluations=0),
    ],
)
def test_wrong_settings_are_one_sentence(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))) as error:
        EvolutionSettings(**wrong)
    assert '\n' not in str(error.value)


def test_pricing_is_a_sum():
    """Ten thousand candidates are filtered by additions: no network, no timing of anything."""
    space, cost, rng = SearchSpace((2, 2, 18, 2)), ToyCost((2, 2, 18, 2)), random.Random(0)
    begin = time.process_time()
    prices = [cost.price(space.sample(rng)) for _ in range(10_000)]
    print(f'10000 candidates: {time.process_time() - begin:.2f} s')
    assert min(prices) >= cost.reachable(space)[0]
