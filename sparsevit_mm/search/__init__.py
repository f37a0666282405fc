"""The best pruning schedule under a budget: what may be drawn, what it costs, and the evolution.

Nothing here knows a framework, a runner or a GPU; `sparsevit_mm.engine` brings those.
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
