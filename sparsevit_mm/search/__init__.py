"""Searches the best pruning schedule under a budget: search space, cost and evolution.

Only `measure` needs a network. Frameworks and runners come in with `sparsevit_mm.engine`.
"""

from sparsevit_mm.search.budget import Budget
from sparsevit_mm.search.cost import AdditiveCost, MacsCost
from sparsevit_mm.search.evolution import EvolutionSettings, evolve, random_search
from sparsevit_mm.search.latency_table import LatencyTable
from sparsevit_mm.search.space import SearchSpace

__all__ = [
    'AdditiveCost',
    'Budget',
    'EvolutionSettings',
    'LatencyTable',
    'MacsCost',
    'SearchSpace',
    'evolve',
    'random_search',
]
