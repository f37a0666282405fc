"""Registries of the plugin, children of mmengine's, under the scope `sparsevit_mm`.

`type='sparsevit_mm.SparseViT'` works in any OpenMMLab config without `custom_imports`: mmengine
imports this module and the locations it names. After
`custom_imports = dict(imports=['sparsevit_mm'])` bare names work too, because everything is also
registered at mmengine's root.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, TypeVar

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry

from sparsevit_mm.requirements_check import warn_of_imported_frameworks

SCOPE = 'sparsevit_mm'

_IN_BEVDET = frozenset(
    [
        'BEVAugmentation',
        'BEVDet',
        'BEVDetHead',
        'BEVResNet',
        'CameraAugmentation',
        'FPNLSS',
        'LiftSplat',
        'LoadCameraImages',
        'OneLevelFPN',
    ]
)
"""Names of what needs MMDetection3D, which takes seconds to import."""


class _WithBEVDet(Registry):
    """Imports `sparsevit_mm.bevdet` when something of it is asked for, and not before."""

    def get(self, key: str) -> Any:
        if key.removeprefix(f'{SCOPE}.') in _IN_BEVDET:
            import_module('sparsevit_mm.bevdet')
        return super().get(key)


MODELS = _WithBEVDet(
    'model',
    parent=mmengine_registry.MODELS,
    scope=SCOPE,
    locations=[
        'sparsevit_mm.backbones',
        'sparsevit_mm.classification.classifier',
        'sparsevit_mm.necks',
    ],
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
        'sparsevit_mm.classification.dataset',
        'sparsevit_mm.datasets3d',
        'sparsevit_mm.engine.held_out',
    ],
)
LOOPS = Registry(
    'loop',
    parent=mmengine_registry.LOOPS,
    scope=SCOPE,
    locations=['sparsevit_mm.engine.schedule_search'],
)
TRANSFORMS = _WithBEVDet(
    'transform',
    parent=mmengine_registry.TRANSFORMS,
    scope=SCOPE,
    locations=['sparsevit_mm.classification.transforms', 'sparsevit_mm.engine.checked_images'],
)
METRICS = Registry(
    'metric',
    parent=mmengine_registry.METRICS,
    scope=SCOPE,
    locations=['sparsevit_mm.classification.metric', 'sparsevit_mm.evaluation3d'],
)

_Class = TypeVar('_Class', bound=type)


def register_backbone(cls: _Class) -> _Class:
    """Registers a backbone under the plugin's scope and at the root."""
    return _register(cls, MODELS, mmengine_registry.MODELS)


def register_model(cls: _Class) -> _Class:
    """Registers a whole model under the plugin's scope."""
    return _register(cls, MODELS)


def register_dataset(cls: _Class) -> _Class:
    """Registers a data set under the plugin's scope."""
    return _register(cls, DATASETS)


def register_transform(cls: _Class) -> _Class:
    """Registers a step of a data pipeline under the plugin's scope."""
    return _register(cls, TRANSFORMS)


def register_metric(cls: _Class) -> _Class:
    """Registers a metric under the plugin's scope."""
    return _register(cls, METRICS)


def register_loop(cls: _Class) -> _Class:
    """Registers a loop under the plugin's scope."""
    return _register(cls, LOOPS)


def register_hook(cls: _Class) -> _Class:
    """Registers a hook under the plugin's scope and at the root."""
    return _register(cls, HOOKS, mmengine_registry.HOOKS)


def _register(cls: _Class, *registries: Registry) -> _Class:
    for registry in registries:
        registry.register_module(module=cls)
    return cls


# A registry is the first thing of ours that a framework touches.
warn_of_imported_frameworks()
