"""Schedules that a searched one must beat: the same ratio everywhere."""

from __future__ import annotations

from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.budget import Budget
from sparsevit_mm.search.cost import AdditiveCost
from sparsevit_mm.search.space import SearchSpace

_STEPS = 200


def uniform_schedules(space: SearchSpace) -> list[PruningSchedule]:
    """One schedule for each choice, the same ratio everywhere."""
    return [space.uniform(choice) for choice in space.choices]


def uniform_within(
    space: SearchSpace, cost: AdditiveCost, budget: Budget
) -> PruningSchedule | None:
    """The most expensive schedule with one ratio everywhere that a budget allows.

    The ratio is any multiple of 0.005, not only one of the choices, so that the baseline comes as
    close to the budget as the searched schedules do.

    Returns:
        The schedule, or None if none lies within the bounds.
    """
    priced = [
        (cost.price(schedule), schedule)
        for schedule in (space.uniform(step / _STEPS) for step in range(_STEPS))
    ]
    allowed = [pair for pair in priced if pair[0] in budget]
    return max(allowed, key=lambda pair: pair[0])[1] if allowed else None
