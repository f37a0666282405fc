"""Checks that every class of this package that a config names exists.

A wrong name is answered with the nearest one that is registered.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import mmengine.registry
from mmengine.config import Config
from mmengine.registry import LOOPS, DefaultScope, Registry
from mmengine.utils import get_object_from_string

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

_LOOPS = {
    'train_cfg': 'EpochBasedTrainLoop',
    'val_cfg': 'ValLoop',
    'test_cfg': 'TestLoop',
}
"""Fields of a config for a loop, and the loop that mmengine takes for each."""

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
    for key, loop in _LOOPS.items():
        _check_loop(cfg, key, loop)
    for field, typed in typed_configs(cfg._cfg_dict):
        if not isinstance(typed['type'], str):
            continue
        scope, _, name = typed['type'].rpartition('.')
        if scope == SCOPE:
            _check_ours(name, f'{field}type')
            _check_arguments(_class(name), typed, field)
        elif not scope:
            _check_bare(name, f'{field}type', cfg.get('default_scope'))
            _check_arguments(_class(name), typed, field)
        elif '.' in scope and get_object_from_string(typed['type']) is None:
            raise ConfigError(f"{field}type is '{typed['type']}', but there is no such class.")


def _check_loop(cfg: Config, key: str, default: str) -> None:
    """Checks the arguments of a loop, which mmengine's runner may build without a `type`."""
    loop = cfg.get(key)
    if not isinstance(loop, Mapping):
        return
    by_epoch = loop.get('by_epoch', True)
    kind = loop.get('type', default if by_epoch else default.replace('Epoch', 'Iter'))
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        if isinstance(kind, str):
            kind = LOOPS.get(kind) if _is_registered(LOOPS, kind) else None
    _check_arguments(kind, loop, f'{key}.', others=('by_epoch',))


def _check_arguments(
    kind: Any, given: Mapping[str, Any], field: str, others: tuple[str, ...] = ()
) -> None:
    known = _arguments(kind) if isinstance(kind, type) else None
    if known is None:
        return
    for name, value in given.items():
        if name not in known | {'type', '_scope_', '_delete_', *others}:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            which = f'; the nearest is {near[0]}.' if near else f': {", ".join(sorted(known))}.'
            raise ConfigError(
                f'{field}{name} is {value!r}, but must be an argument of {kind.__name__}{which}'
            )


def _arguments(kind: type) -> set[str] | None:
    """Names of the arguments of a class; None if it cannot be said which it takes."""
    names: set[str] = set()
    is_first = True
    for owner in kind.__mro__:
        if '__init__' not in vars(owner):
            continue
        if not is_first and not owner.__module__.startswith(f'{SCOPE}.'):
            return None  # what ours hands on to a class of another package is its own affair
        parameters = list(inspect.signature(owner.__init__).parameters.values())[1:]  # type: ignore[misc]
        if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
            return None
        names |= {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return names
        is_first = False
    return None


def _class(name: str) -> Any:
    """What of ours has a name; None if nothing has."""
    return next((r.module_dict[name] for r in _registries(registry) if name in r.module_dict), None)


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
        try:
            return current.get(name) is not None
        except ImportError:  # MMDetection3D names locations that it does not have
            return False


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
