"""sparsevit_mm: a latency dial for window-based backbones in OpenMMLab.

Importing the package needs torch and mmengine, nothing else. It registers the backbones and hooks
and lets torch's safe loader read mmengine's training checkpoints.
"""

from sparsevit_mm.backbones import FasterViT, SparseViT, SwinHAT
from sparsevit_mm.engine.hooks import SparsityAdaptationHook, WindowPruningHook
from sparsevit_mm.engine.safe_checkpoints import allow_mmengine_checkpoints
from sparsevit_mm.pruning import PruningSchedule
from sparsevit_mm.versions import __version__

__all__ = [
    'FasterViT',
    'PruningSchedule',
    'SparseViT',
    'SparsityAdaptationHook',
    'SwinHAT',
    'WindowPruningHook',
    '__version__',
]

allow_mmengine_checkpoints()
