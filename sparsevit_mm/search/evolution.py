"""Evolutionary search for pruning schedules under a budget, and random search as its baseline.

As in SparseViT, the best members of a full population become the parents of the next one. The first
part of a generation is made by mutation, the rest by crossover. Schedules outside the budget are
rejected before they are evaluated. Unlike in SparseViT, no schedule is evaluated twice or appears
twice in a generation, and a generation ends early if its parents are too similar to fill it.

A search depends only on its settings and on the results of `evaluate`. Repeating an interrupted
search with its recorded results therefore leads to where it stopped, and this is how a search is
resumed.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.budget import Budget
from sparsevit_mm.search.cost import AdditiveCost
from sparsevit_mm.search.space import SearchSpace


@dataclass(frozen=True)
class EvolutionSettings:
    """Sizes, probabilities and limits of a search; the first five are those of the paper.

    Attributes:
        population: Schedules in a generation.
        parents: Best schedules of a generation, of which the next one is made.
        mutation_share: Share of a generation that is made by mutation, the rest by crossover.
        mutation_probability: Probability that a mutation draws a ratio again.
        max_draws: Maximum number of schedules drawn, including rejected ones.
        max_evaluations: Maximum number of schedules evaluated, which takes most of the time.
        seed: Seed of all draws.

    Raises:
        ConfigError: If a number is out of range.
    """

    population: int = 100
    parents: int = 25
    mutation_share: float = 0.5
    mutation_probability: float = 0.1
    max_draws: int = 10_000
    max_evaluations: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ('population', 'max_draws', 'max_evaluations'):
            if getattr(self, field) < 1:
                raise ConfigError(f'{field} is {getattr(self, field)}, but must be at least 1.')
        if not 1 <= self.parents <= self.population:
            raise ConfigError(
                f'parents is {self.parents}, but must lie between 1 and the population of '
                f'{self.population}.'
            )
        for field in ('mutation_share', 'mutation_probability'):
            if not 0 <= getattr(self, field) <= 1:
                raise ConfigError(
                    f'{field} is {getattr(self, field)}, but must lie between 0 and 1.'
                )


@dataclass(frozen=True)
class Proposal:
    """A schedule inside the budget that is to be evaluated.

    Attributes:
        schedule: The schedule.
        cost: Its cost.
        origin: 'random', 'mutation' or 'crossover'.
        generation: Index of the generation; 0 is the random one.
    """

    schedule: PruningSchedule
    cost: float
    origin: str
    generation: int


Evaluate = Callable[[Proposal], float]
"""Returns the fitness of a schedule; higher is better, NaN is worst."""


@dataclass(frozen=True)
class SearchTrace:
    """Record of a search.

    Attributes:
        proposals: Every evaluated schedule, in order.
        draws: Number of schedules drawn, including rejected ones.
        ended_by: 'max_evaluations' or 'max_draws'.
    """

    proposals: tuple[Proposal, ...]
    draws: int
    ended_by: str


def evolve(
    space: SearchSpace,
    cost: AdditiveCost,
    budget: Budget,
    settings: EvolutionSettings,
    evaluate: Evaluate,
) -> SearchTrace:
    """Searches by evolution.

    Args:
        space: Schedules to draw from.
        cost: Prices the schedules.
        budget: Allowed costs.
        settings: Sizes, probabilities, limits and seed.
        evaluate: Called once for every new schedule inside the budget.

    Returns:
        The evaluated schedules.

    Raises:
        ConfigError: If no schedule inside the budget was found.
    """
    return _Search(space, cost, budget, settings, evaluate).evolve()


def random_search(
    space: SearchSpace,
    cost: AdditiveCost,
    budget: Budget,
    settings: EvolutionSettings,
    evaluate: Evaluate,
) -> SearchTrace:
    """Evaluates random schedules; with the same seed, `evolve` begins with the same ones.

    Args:
        space: Schedules to draw from.
        cost: Prices the schedules.
        budget: Allowed costs.
        settings: Limits and seed; the rest is not used.
        evaluate: Called once for every new schedule inside the budget.

    Returns:
        The evaluated schedules.

    Raises:
        ConfigError: If no schedule inside the budget was found.
    """
    return _Search(space, cost, budget, settings, evaluate).draw_at_random()


_STALE_AFTER = 10
"""A generation ends after this many times its size of consecutive draws without a new schedule."""


class _EndError(Exception):
    """A limit of the settings is reached."""


class _Search:
    def __init__(
        self,
        space: SearchSpace,
        cost: AdditiveCost,
        budget: Budget,
        settings: EvolutionSettings,
        evaluate: Evaluate,
    ) -> None:
        budget.check_reachable(cost, space)
        self.space, self.cost, self.budget = space, cost, budget
        self.settings, self.evaluate = settings, evaluate
        self.rng = random.Random(settings.seed)
        self.fitness: dict[PruningSchedule, float] = {}
        self.proposals: list[Proposal] = []
        self.draws, self.nearest = 0, math.inf

    def evolve(self) -> SearchTrace:
        rng, space, settings = self.rng, self.space, self.settings
        size = settings.population
        mutants = round(size * settings.mutation_share)

        def mutation() -> PruningSchedule:
            return space.mutate(rng.choice(parents), rng, settings.mutation_probability)

        def crossover() -> PruningSchedule:
            return space.crossover(rng.choice(parents), rng.choice(parents), rng)

        try:
            population: dict[PruningSchedule, float] = {}
            self._fill(population, size, 'random', 0)
            for generation in itertools.count(1):
                ranked = sorted(population, key=lambda schedule: population[schedule], reverse=True)
                parents = ranked[: settings.parents]
                children: dict[PruningSchedule, float] = {}
                self._fill(children, mutants, 'mutation', generation, mutation)
                self._fill(children, size, 'crossover', generation, crossover)
                population = children or population
        except _EndError as end:
            return self._trace(str(end))
        raise AssertionError('a limit ends every search')

    def draw_at_random(self) -> SearchTrace:
        try:
            self._fill({}, self.settings.max_evaluations + 1, 'random', 0)
        except _EndError as end:
            return self._trace(str(end))
        raise AssertionError('a limit ends every search')

    def _fill(
        self,
        population: dict[PruningSchedule, float],
        size: int,
        origin: str,
        generation: int,
        draw: Callable[[], PruningSchedule] | None = None,
    ) -> None:
        """Draws until a population has the given size; no schedule is evaluated a second time."""
        patience = math.inf if draw is None else _STALE_AFTER * self.settings.population
        last_new = self.draws
        while len(population) < size and self.draws - last_new < patience:
            if self.draws == self.settings.max_draws:
                raise _EndError('max_draws')
            self.draws += 1
            schedule = draw() if draw else self.space.sample(self.rng)
            if schedule in population:
                continue
            if schedule not in self.fitness:
                cost = self.cost.price(schedule)
                if cost not in self.budget:
                    middle = (self.budget.lower + self.budget.upper) / 2
                    self.nearest = min(self.nearest, cost, key=lambda found: abs(found - middle))
                    continue
                if len(self.proposals) == self.settings.max_evaluations:
                    raise _EndError('max_evaluations')
                proposal = Proposal(schedule, cost, origin, generation)
                fitness = self.evaluate(proposal)
                self.fitness[schedule] = -math.inf if math.isnan(fitness) else fitness
                self.proposals.append(proposal)
            population[schedule] = self.fitness[schedule]
            last_new = self.draws

    def _trace(self, ended_by: str) -> SearchTrace:
        if not self.proposals:
            low, high = (self.cost.show(end) for end in self.cost.reachable(self.space))
            raise ConfigError(
                f'none of {self.draws} schedules drawn lies in the budget of {self.budget}: they '
                f'cost {low} to {high}, and the nearest drawn costs '
                f'{self.cost.show(self.nearest)}; widen the budget.'
            )
        return SearchTrace(tuple(self.proposals), self.draws, ended_by)
