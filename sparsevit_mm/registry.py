"""Registries of the plugin: children of mmengine's, with the scope `sparsevit_mm`.

`type='sparsevit_mm.SparseViT'` works in any OpenMMLab config without `custom_imports`: mmengine
imports this module and the locations named here. What needs MMDetection3D, which takes seconds to
import, is in none of them: its configs say
`custom_imports = dict(imports=['sparsevit_mm.det3d.bevdet'])`.
"""

from __future__ import annotations

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry

from sparsevit_mm.requirements_check import warn_of_imported_frameworks

SCOPE = 'sparsevit_mm'

MODELS = Registry(
    'model',
    parent=mmengine_registry.MODELS,
    scope=SCOPE,
    locations=['sparsevit_mm.models', 'sparsevit_mm.det3d.top_down_neck'],
)
HOOKS = Registry(
    'hook',
    parent=mmengine_registry.HOOKS,
    scope=SCOPE,
    locations=['sparsevit_mm.engine.hooks'],
)
DATASETS = Registry(
    'dataset',
    parent=mmengine_registry.DATASETS,
    scope=SCOPE,
    locations=[
        'sparsevit_mm.det3d.datasets.class_balanced',
        'sparsevit_mm.engine.classification',
        'sparsevit_mm.engine.held_out',
    ],
)
LOOPS = Registry(
    'loop',
    parent=mmengine_registry.LOOPS,
    scope=SCOPE,
    locations=['sparsevit_mm.engine.search_loop'],
)
TRANSFORMS = Registry(
    'transform',
    parent=mmengine_registry.TRANSFORMS,
    scope=SCOPE,
    locations=['sparsevit_mm.checks.images', 'sparsevit_mm.engine.classification'],
)
METRICS = Registry(
    'metric',
    parent=mmengine_registry.METRICS,
    scope=SCOPE,
    locations=['sparsevit_mm.det3d.evaluation', 'sparsevit_mm.engine.classification'],
)

# A registry is the first thing of ours that a framework touches.
warn_of_imported_frameworks()
