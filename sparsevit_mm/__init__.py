"""sparsevit_mm: a latency dial for window-based backbones in OpenMMLab.

Importing the package registers the backbones and hooks, at mmengine's root too, so that a config
with `custom_imports = dict(imports=['sparsevit_mm'])` may use bare names; and it lets torch's safe
loader read mmengine's training checkpoints. That needs torch and mmengine, nothing else. Where they
are not installed, there is still `sparsevit_mm.deployment.OnnxDetector`, which runs exported files.
"""

from importlib.util import find_spec
from typing import Any

from sparsevit_mm.versions import __version__

__all__ = [
    'FasterViT',
    'PruningSchedule',
    'SparseViT',
    'SparsityAdaptationHook',
    'SwinHAT',
    'WindowPruningHook',
    '__version__',
    'make_heads_sparse',
    'optimize_for_inference',
]

_MISSING = [name for name in ('torch', 'mmengine') if find_spec(name) is None]

if not _MISSING:
    from mmengine import registry as _root

    from sparsevit_mm.checkpoints.reading import allow_harmless_classes
    from sparsevit_mm.deployment.inference_form import optimize_for_inference
    from sparsevit_mm.engine.hooks import (
        KeptWindowsVisualizer,
        SparsityAdaptationHook,
        WindowPruningHook,
    )
    from sparsevit_mm.models import (
        AblatedSparseViT,
        FasterViT,
        SparseViT,
        SwinHAT,
        make_heads_sparse,
    )
    from sparsevit_mm.pruning import PruningSchedule

    for _backbone in (SparseViT, AblatedSparseViT, FasterViT, SwinHAT):
        _root.MODELS.register_module(module=_backbone)
    for _hook in (WindowPruningHook, SparsityAdaptationHook, KeptWindowsVisualizer):
        _root.HOOKS.register_module(module=_hook)

    allow_harmless_classes()


def __getattr__(name: str) -> Any:
    if _MISSING and name in __all__:
        raise ImportError(f'{name} needs {" and ".join(_MISSING)}, which are not installed.')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
