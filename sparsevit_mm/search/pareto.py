"""What is worth having among many: better than everything that is not dearer."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(costs: Sequence[float], fitness: Sequence[float]) -> list[int]:
    """Numbers of the points that no other point beats at equal or lower cost.

    Args:
        costs: Cost of each point, less is better.
        fitness: Fitness of each point, more is better.

    Returns:
        Numbers by ascending cost; of equal points the first.
    """
    order = sorted(range(len(costs)), key=lambda number: (costs[number], -fitness[number]))
    front: list[int] = []
    for number in order:
        if not front or fitness[number] > fitness[front[-1]]:
            front.append(number)
    return front
