"""mmengine hooks that set schedules, log and draw kept windows, save and optimize models."""

from sparsevit_mm.engine.hooks.inference_form import InferenceFormHook
from sparsevit_mm.engine.hooks.kept_windows_visualizer import KeptWindowsVisualizer
from sparsevit_mm.engine.hooks.sparsity_adaptation import SparsityAdaptationHook
from sparsevit_mm.engine.hooks.whole_checkpoints import WholeCheckpointHook
from sparsevit_mm.engine.hooks.window_pruning import WindowPruningHook

__all__ = [
    'InferenceFormHook',
    'KeptWindowsVisualizer',
    'SparsityAdaptationHook',
    'WholeCheckpointHook',
    'WindowPruningHook',
]
