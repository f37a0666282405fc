"""Baselines of the search: schedules with the same ratio everywhere, with all else searched."""

from __future__ import annotations

import itertools

from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.budget import Budget
from sparsevit_mm.search.cost import AdditiveCost
from sparsevit_mm.search.space import SearchSpace

_STEPS = 200


def uniform_schedules(space: SearchSpace) -> list[PruningSchedule]:
    """Makes one schedule for each choice, importance and scale, with that ratio everywhere.

    They have the largest number of proposals, for there would be too many of them.
    """
    made = [
        space.uniform(choice, name, scale)
        for name in space.importances
        for scale in space.scales
        for choice in space.choices
    ]
    return list(dict.fromkeys(made))


def uniform_within(
    space: SearchSpace,
    cost: AdditiveCost,
    budget: Budget,
    importance: str | None = None,
    scale: float | None = None,
    proposals: int | None = None,
) -> PruningSchedule | None:
    """Finds the most expensive schedule with one ratio everywhere that a budget allows.

    Every multiple of 0.005 is tried, not only the choices, so that the baseline comes as close to
    the budget as the searched schedules do.

    Args:
        space: Gives the number of blocks.
        cost: Prices the schedules.
        budget: Allowed costs.
        importance: One of the space's; the first by default.
        scale: One of the space's; the largest by default.
        proposals: One of the space's; the largest by default.

    Returns:
        The schedule, or None if the budget allows none.
    """
    priced = [
        (cost.price(schedule), schedule)
        for schedule in (
            space.uniform(step / _STEPS, importance, scale, proposals) for step in range(_STEPS)
        )
    ]
    allowed = [pair for pair in priced if pair[0] in budget]
    return max(allowed, key=lambda pair: pair[0])[1] if allowed else None


def all_uniform_within(
    space: SearchSpace, cost: AdditiveCost, budget: Budget
) -> list[PruningSchedule]:
    """The schedule of `uniform_within` for each importance, scale and number of proposals.

    Args:
        space: Gives the choices.
        cost: Prices the schedules.
        budget: Allowed costs.
    """
    choices = itertools.product(space.importances, space.scales, space.proposals)
    found = (uniform_within(space, cost, budget, *chosen) for chosen in choices)
    return list(dict.fromkeys(schedule for schedule in found if schedule is not None))
