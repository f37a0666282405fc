"""Checks that every class of this package that a config names exists.

A wrong name is answered with the nearest one that is registered.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator
from importlib import import_module

import mmengine.registry
from mmengine.config import Config
from mmengine.registry import DefaultScope, Registry

from sparsevit_mm import registry
from sparsevit_mm.checks.configs import typed_configs
from sparsevit_mm.checks.images import CHECKED_LOADING
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.registry import SCOPE

RENAMED = {
    'CentreDistanceMetric': 'NuScenesDetectionMetric',
    'WithoutHeldOut': 'ExcludeHeldOut',
}
"""Former names of classes, by which older configs may still call them."""

_IMPORTED_BY_CONFIGS = 'sparsevit_mm.det3d.bevdet'
_SIMILAR = 0.8  # of 1; bare names below it are more likely of another package


def check_names(cfg: Config) -> None:
    """Checks every `type` of a config that names, or nearly names, a class of this package.

    Args:
        cfg: The whole config; its framework must be registered.

    Raises:
        ConfigError: If `sparsevit_mm.<name>` is not registered, or a name without a scope is
            registered nowhere and is close to one of ours.
    """
    for field, typed in typed_configs(cfg._cfg_dict):
        if not isinstance(typed['type'], str):
            continue
        scope, _, name = typed['type'].rpartition('.')
        if scope == SCOPE:
            _check_ours(name, f'{field}type')
        elif not scope:
            _check_bare(name, f'{field}type', cfg.get('default_scope'))


def _check_ours(name: str, field: str) -> None:
    if f'{SCOPE}.{name}' in CHECKED_LOADING.values() or name in _names():
        return
    for each in _registries(registry):
        each.import_from_location()
    if name in _names():
        return
    with contextlib.suppress(ImportError):  # MMDetection3D may not be installed
        import_module(_IMPORTED_BY_CONFIGS)
    if name in _names():
        raise ConfigError(
            f"{field} is '{SCOPE}.{name}', which is known only to configs that say "
            f"custom_imports = dict(imports=['{_IMPORTED_BY_CONFIGS}'])."
        )
    near = RENAMED.get(name) or _nearest(name, 0.6)
    which = f"; the nearest is '{SCOPE}.{near}'." if near else f': {", ".join(sorted(_names()))}.'
    raise ConfigError(f"{field} is '{SCOPE}.{name}', but must be a name of {SCOPE}{which}")


def _check_bare(name: str, field: str, scope: str | None) -> None:
    if name in _names():
        return
    near = RENAMED.get(name) or _nearest(name, _SIMILAR)
    if near is None:
        return
    with DefaultScope.overwrite_default_scope(scope):
        if any(_is_registered(each, name) for each in _registries(mmengine.registry)):
            return
    raise ConfigError(
        f"{field} is '{name}', which is registered nowhere; the nearest is '{SCOPE}.{near}'."
    )


def _is_registered(root: Registry, name: str) -> bool:
    with root.switch_scope_and_registry(None) as current:
        return current.get(name) is not None


def _nearest(name: str, similarity: float) -> str | None:
    """The name of ours that is most similar, upper and lower case aside."""
    by_lower = {known.lower(): known for known in _names()}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=similarity)
    return by_lower[found[0]] if found else None


def _names() -> set[str]:
    """Names in the registries of this package, as far as their modules are imported."""
    return {name for each in _registries(registry) for name in each.module_dict}


def _registries(module: object) -> Iterator[Registry]:
    return (value for value in vars(module).values() if isinstance(value, Registry))
