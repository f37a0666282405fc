"""Pareto front of (cost, fitness) points."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(costs: Sequence[float], fitness: Sequence[float]) -> list[int]:
    """Finds the points that no other point of equal or lower cost beats.

    Args:
        costs: Cost of each point, lower is better.
        fitness: Fitness of each point, higher is better.

    Returns:
        Indices of the points in ascending order of cost; of equal points only the first.
    """
    order = sorted(range(len(costs)), key=lambda i: (costs[i], -fitness[i]))
    front: list[int] = []
    for index in order:
        if not front or fitness[index] > fitness[front[-1]]:
            front.append(index)
    return front
