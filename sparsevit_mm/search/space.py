"""The schedules a search can draw, and mutation and crossover of schedules."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.importance import check_importance_name
from sparsevit_mm.pruning.schedule import (
    BLOCKS_PER_RATIO,
    DEFAULT_CHOICES,
    PruningSchedule,
    check_proposals,
    check_scale,
    checked_choices,
)

Genes = list[list[float]]
_Choice = TypeVar('_Choice')


@dataclass(frozen=True)
class SearchSpace:
    """All schedules with ratios from a list of choices, non-decreasing in each stage.

    Beside the ratios, an importance, an input scale and a number of proposals may be chosen, one of
    each for a whole schedule.

    Methods that draw use the random state of the caller; no global one is read or changed.

    Attributes:
        depths: Blocks in each stage.
        choices: Ratios to choose from, sorted and without repeats.
        per: What gets a ratio of its own: a 'pair' of a plain and a shifted block, as in the paper,
            or a 'block'.
        has_windows: Which stages attend in windows, and so have ratios to choose; None for all.
        importances: Names of what windows are ranked by to choose from, one for a whole schedule;
            None leaves that to the backbone, as a dense schedule always does.
        scales: Input scales to choose from, ascending.
        proposals: Numbers of proposals to choose from, ascending; None leaves that to the model.
        head_stages: At the resolutions of which stages the neck and head skip windows, with a ratio
            of `choices` each; None for none.

    Raises:
        ConfigError: If there is no choice, one is out of range, or `per` or a name is unknown.
    """

    depths: tuple[int, ...]
    choices: tuple[float, ...] = DEFAULT_CHOICES
    per: str = 'pair'
    has_windows: tuple[bool, ...] | None = None
    importances: tuple[str | None, ...] = (None,)
    scales: tuple[float, ...] = (1.0,)
    proposals: tuple[int | None, ...] = (None,)
    head_stages: tuple[bool, ...] | None = None

    def __post_init__(self) -> None:
        for name in self.importances:
            if name is not None:
                check_importance_name(name)
        if not self.importances:
            raise ConfigError('importances is empty, but must hold at least one name.')
        object.__setattr__(self, 'importances', tuple(dict.fromkeys(self.importances)))
        for field, check in (('scales', check_scale), ('proposals', check_proposals)):
            values = getattr(self, field)
            if not values:
                raise ConfigError(f'{field} is empty, but must hold at least one number.')
            if values != (None,):
                for value in values:
                    check(value)
                object.__setattr__(self, field, tuple(sorted(set(values))))
        object.__setattr__(self, 'depths', tuple(self.depths))
        object.__setattr__(self, 'choices', checked_choices(self.choices, self.per))

    @property
    def num_genes(self) -> tuple[int, ...]:
        """Number of ratios to choose in each stage."""
        has_windows = self.has_windows or (True,) * len(self.depths)
        return tuple(
            math.ceil(depth / BLOCKS_PER_RATIO[self.per]) if has else 0
            for depth, has in zip(self.depths, has_windows)
        )

    @property
    def size(self) -> int:
        """Number of schedules."""
        ways = len(self.choices)
        found = math.prod(math.comb(genes + ways - 1, genes) for genes in self.num_genes)
        dense = int(0 in self.choices)  # ranks nothing
        others = len(self.scales) * len(self.proposals) * ways ** sum(self.head_stages or ())
        return ((found - dense) * len(self.importances) + dense) * others

    def blocks_of_gene(self, stage: int, gene: int) -> range:
        """Indices of the blocks that share a ratio."""
        step = BLOCKS_PER_RATIO[self.per]
        return range(gene * step, min((gene + 1) * step, self.depths[stage]))

    def uniform(
        self,
        ratio: float,
        importance: str | None = None,
        scale: float | None = None,
        proposals: int | None = None,
    ) -> PruningSchedule:
        """Makes the schedule with one ratio everywhere, which need not be one of the choices.

        Args:
            ratio: The ratio.
            importance: One of `importances`; the first by default.
            scale: One of `scales`; the largest by default.
            proposals: One of `proposals`; the largest by default.
        """
        schedule = PruningSchedule.parse(ratio, self.depths, self.has_windows)
        return replace(
            _ranked_by(importance or self.importances[0], schedule),
            head_ratios=tuple(ratio * has for has in self.head_stages or ()),
            scale=scale or self.scales[-1],
            proposals=proposals or self.proposals[-1],
        )

    def sample(self, rng: random.Random) -> PruningSchedule:
        """Draws every ratio uniformly, then sorts each stage; see `PruningSchedule.sample`."""
        schedule = PruningSchedule.sample(
            self.depths, rng, self.choices, self.per, self.has_windows, self.head_stages
        )
        return replace(
            _ranked_by(_draw(self.importances, rng), schedule),
            scale=_draw(self.scales, rng),
            proposals=_draw(self.proposals, rng),
        )

    def mutate(
        self, parent: PruningSchedule, rng: random.Random, probability: float
    ) -> PruningSchedule:
        """Draws each ratio again with the given probability, then sorts each stage.

        Args:
            parent: A schedule of this space.
            rng: Random state.
            probability: Probability for each ratio, independently.
        """
        schedule = self._schedule(
            [
                [rng.choice(self.choices) if rng.random() < probability else r for r in stage]
                for stage in self._genes(parent)
            ]
        )
        heads = [
            rng.choice(self.choices) if has and rng.random() < probability else ratio
            for ratio, has in zip(self._head_genes(parent), self.head_stages or ())
        ]
        importance = parent.importance
        if len(self.importances) > 1 and (importance is None or rng.random() < probability):
            importance = rng.choice(self.importances)

        def mutated(choices: Sequence[_Choice], own: _Choice) -> _Choice:
            again = len(choices) > 1 and rng.random() < probability
            return rng.choice(choices) if again else own

        return replace(
            _ranked_by(importance or self.importances[0], schedule),
            head_ratios=tuple(heads),
            scale=mutated(self.scales, parent.scale),
            proposals=mutated(self.proposals, parent.proposals),
        )

    def crossover(
        self, first: PruningSchedule, second: PruningSchedule, rng: random.Random
    ) -> PruningSchedule:
        """Takes each ratio from one of two parents with equal probability, then sorts each stage.

        Args:
            first: A schedule of this space.
            second: Another one.
            rng: Random state.
        """
        schedule = self._schedule(
            [
                [rng.choice(pair) for pair in zip(*stages)]
                for stages in zip(self._genes(first), self._genes(second))
            ]
        )
        pairs = zip(self._head_genes(first), self._head_genes(second))
        heads = [
            rng.choice(pair) if has else 0.0 for pair, has in zip(pairs, self.head_stages or ())
        ]
        named = [parent.importance for parent in (first, second) if parent.importance is not None]
        importance = rng.choice(named) if len(set(named)) > 1 else next(iter(named), None)
        return replace(
            _ranked_by(importance or _draw(self.importances, rng), schedule),
            head_ratios=tuple(heads),
            scale=_draw(sorted({first.scale, second.scale}), rng),
            proposals=_draw([*dict.fromkeys([first.proposals, second.proposals])], rng),
        )

    def _genes(self, schedule: PruningSchedule) -> Genes:
        step = BLOCKS_PER_RATIO[self.per]
        return [
            list(stage[::step]) if genes else []
            for stage, genes in zip(schedule.ratios, self.num_genes)
        ]

    def _head_genes(self, schedule: PruningSchedule) -> tuple[float, ...]:
        return schedule.head_ratios or (0.0,) * len(self.depths)

    def _schedule(self, genes: Sequence[Sequence[float]]) -> PruningSchedule:
        stages = [sorted(of_stage) or [0.0] for of_stage in genes]
        return PruningSchedule.parse(stages, self.depths)


def _draw(choices: Sequence[_Choice], rng: random.Random) -> _Choice:
    """One of the choices; a single one is no draw."""
    return choices[0] if len(choices) == 1 else rng.choice(choices)


def _ranked_by(importance: str | None, schedule: PruningSchedule) -> PruningSchedule:
    """The schedule with an importance, of which a dense backbone has no need."""
    is_dense = not any(map(any, schedule.ratios))
    return replace(schedule, importance=None if is_dense else importance)
