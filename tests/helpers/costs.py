"""Costs for tests, without a network."""

from __future__ import annotations

from sparsevit_mm.search.cost import AdditiveCost


class ToyCost(AdditiveCost):
    """Ten windows a stage; a later stage's window costs more."""

    unit = 'ms'
    constant = 5.0

    def __init__(self, depths):
        self.num_windows = (10,) * len(depths)

    def block_cost(self, stage, block, kept):
        return kept * (stage + 1) / 10
