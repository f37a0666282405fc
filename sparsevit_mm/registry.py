"""Registries of the plugin, children of mmengine's, under the scope `sparsevit_mm`.

`type='sparsevit_mm.SparseViT'` works in any OpenMMLab config without `custom_imports`: mmengine
imports this module and the locations it names. After
`custom_imports = dict(imports=['sparsevit_mm'])` bare names work too, because everything is also
registered at mmengine's root.
"""

from __future__ import annotations

from typing import TypeVar

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry

from sparsevit_mm.requirements_check import warn_of_imported_frameworks

SCOPE = 'sparsevit_mm'

MODELS = Registry(
    'model',
    parent=mmengine_registry.MODELS,
    scope=SCOPE,
    locations=['sparsevit_mm.backbones'],
)
HOOKS = Registry(
    'hook',
    parent=mmengine_registry.HOOKS,
    scope=SCOPE,
    locations=['sparsevit_mm.engine.hooks'],
)

_Class = TypeVar('_Class', bound=type)


def register_backbone(cls: _Class) -> _Class:
    """Registers a backbone under the plugin's scope and at the root."""
    return _register(cls, MODELS, mmengine_registry.MODELS)


def register_hook(cls: _Class) -> _Class:
    """Registers a hook under the plugin's scope and at the root."""
    return _register(cls, HOOKS, mmengine_registry.HOOKS)


def _register(cls: _Class, *registries: Registry) -> _Class:
    for registry in registries:
        registry.register_module(module=cls)
    return cls


# A registry is the first thing of ours that a framework touches.
warn_of_imported_frameworks()
