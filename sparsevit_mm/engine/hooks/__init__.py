"""mmengine hooks that set pruning schedules, log and draw kept windows, and save checkpoints."""

from sparsevit_mm.engine.hooks.kept_windows_visualizer import KeptWindowsVisualizer
from sparsevit_mm.engine.hooks.sparsity_adaptation import SparsityAdaptationHook
from sparsevit_mm.engine.hooks.whole_checkpoints import WholeCheckpointHook
from sparsevit_mm.engine.hooks.window_pruning import WindowPruningHook

__all__ = [
    'KeptWindowsVisualizer',
    'SparsityAdaptationHook',
    'WholeCheckpointHook',
    'WindowPruningHook',
]
