"""mmengine hooks: thin, they assign schedules and report."""

from sparsevit_mm.engine.hooks.sparsity_adaptation import SparsityAdaptationHook
from sparsevit_mm.engine.hooks.window_pruning import WindowPruningHook

__all__ = ['SparsityAdaptationHook', 'WindowPruningHook']
