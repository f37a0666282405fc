"""Replaces the backbone in the config of a model and changes every field that depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config, ConfigDict

from sparsevit_mm.checks.configs import type_name
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.swap.channels import FieldPath, drops_neck, matching_levels, new_channels
from sparsevit_mm.swap.feature_maps import feature_maps
from sparsevit_mm.swap.optimizer import (
    keeps_optimizer,
    kept_optimizer_note,
    normalization_changes,
    optimizer_changes,
    preprocessor_paths,
)
from sparsevit_mm.swap.spec import FOR_OWN_DATA, STRIDES, BackboneSpec
from sparsevit_mm.swap.unsupported import (
    backbone_key,
    backbone_of,
    host_of,
    neck_key,
    unsupported_reason,
)

_SWINS = ('SwinTransformer', 'SparseViT')
RANKED_BY = 'What ranks the windows.'
_OTHERS = ('FasterViT', 'SwinHAT')
SWIN_SIZES = ('embed_dims', 'depths', 'num_heads')


@dataclass(frozen=True)
class Change:
    """One field that a swap changes.

    Attributes:
        path: Where the field stands in the config.
        value: Its new value.
        reason: Why it changes, as a sentence.
        replaces: Whether a dict replaces the old one instead of being merged into it.
    """

    path: FieldPath
    value: Any
    reason: str
    replaces: bool = False


@dataclass(frozen=True)
class Swap:
    """A config with another backbone.

    Attributes:
        cfg: The new config.
        changes: Fields that differ from the original, in the order in which they were decided.
        kept: Fields that stay although another backbone might want another value, each with the
            reason.
    """

    cfg: Config
    changes: tuple[Change, ...]
    kept: tuple[tuple[FieldPath, str], ...] = ()


def swap_backbone(cfg: Config, spec: BackboneSpec) -> Swap:
    """Replaces the backbone in the config of a detector or segmentor.

    Args:
        cfg: The config, which is not modified. Its framework must be registered.
        spec: The new backbone.

    Returns:
        The new config and its changes; there are none if it already has that backbone.

    Raises:
        ConfigError: If the backbone of the model cannot be replaced, or the channels of a neck or
            head do not follow from those of the old backbone.
    """
    if not isinstance(cfg.get('model'), Mapping):
        raise ConfigError('model is missing in the config, but a swap needs its backbone.')
    reason = unsupported_reason(cfg.model)
    if reason is not None:
        raise ConfigError(f'the backbone of {cfg.model.get("type")} cannot be swapped: {reason}.')
    scope = cfg.get('default_scope')
    host = host_of(cfg.model)
    assert host is not None  # else there was a reason
    below: FieldPath = ('model',) if host is cfg.model else ('model', 'detector')
    old = backbone_of(host)
    kept: tuple[tuple[FieldPath, str], ...] = ()
    if _is_same_swin(old, spec):
        changes = _swin_to_sparse(old, spec, (*below, backbone_key(host)))
    else:
        changes = _other_backbone(cfg, host, below, spec, scope)
        optim_wrapper = cfg.get('optim_wrapper')
        if isinstance(optim_wrapper, Mapping) and keeps_optimizer(optim_wrapper):
            note = kept_optimizer_note(optim_wrapper, scope)
            kept = ((('optim_wrapper', 'optimizer'), note),)
    swapped = deepcopy(cfg)
    changes = [change for change in changes if not _is_there(cfg, change)]
    for change in changes:
        _apply(swapped, change)
    return Swap(swapped, tuple(changes), kept)


def sparsify(cfg: Config, ratios: Any, importance: str | None = None) -> Swap:
    """Lets the backbone of a config, of any size, skip windows with the weights it has.

    A Swin becomes a SparseViT; backbones of this package keep their type.

    Args:
        cfg: The config, which is not modified.
        ratios: Pruning ratios in any form `pruning_ratios` takes.
        importance: Name of what windows are ranked by; None keeps the backbone's.

    Raises:
        ConfigError: If the backbone is neither a Swin nor one of this package.
    """
    host = host_of(cfg.get('model') or {})
    old = {} if host is None else backbone_of(host)
    if host is None or type_name(old) not in (*_SWINS, *_OTHERS):
        raise ConfigError(
            f'the backbone is {old.get("type")}, but must be a Swin, a FasterViT or a SwinHAT to '
            'skip windows with the weights it has: replace it with tools/swap_backbone.py and '
            'train.'
        )
    path: FieldPath = ('model',) if host is cfg.model else ('model', 'detector')
    path = (*path, backbone_key(host))
    found = [Change((*path, 'pruning_ratios'), ratios, 'Windows to skip.')]
    if type_name(old) in _SWINS:
        found.insert(
            0,
            Change((*path, 'type'), 'sparsevit_mm.SparseViT', 'The same network, with a schedule.'),
        )
    if importance is not None:
        found.append(Change((*path, 'importance'), importance, RANKED_BY, replaces=True))
    changes = tuple(change for change in found if not _is_there(cfg, change))
    swapped = deepcopy(cfg)
    for change in changes:
        _apply(swapped, change)
    return Swap(swapped, changes)


def _other_backbone(
    cfg: Config, host: Mapping[str, Any], below: FieldPath, spec: BackboneSpec, scope: str | None
) -> list[Change]:
    old = backbone_of(host)
    found = feature_maps(old, scope)
    in_channels, maps = found.in_channels, found.outputs
    levels = matching_levels(maps)
    backbone = spec.config(levels, in_channels)
    if old.get('with_cp'):
        backbone['with_cp'] = True
    strides = [each.stride for each in maps]
    why = f'In place of {old.get("type")}'
    if strides != [STRIDES[level] for level in levels]:
        why += f', whose maps have strides {", ".join(map(str, strides))}; ours '
        why += ', '.join(str(STRIDES[level]) for level in levels)
    if in_channels != 3 and spec.pretrained is not None:
        why += f'. Images have {in_channels} channels, and the weights are for 3: '
        if spec.channels is None:
            why += "they are left out; channels='rgb' or 'bgr' takes them in"
        else:
            why += f'{spec.channels} is taken for the first three, their mean for further ones'
    if 'init_cfg' in backbone and spec.family == 'fastervit' and spec.checkpoint is None:
        why += ". The weights are under NVIDIA's non-commercial terms"
    changes = [Change((*below, backbone_key(host)), backbone, f'{why}.', replaces=True)]
    if host.get('pretrained'):
        changes.append(Change((*below, 'pretrained'), None, 'It was for the old backbone.'))
    if drops_neck(host, maps):
        changes.append(
            Change(
                (*below, neck_key(host)),
                None,
                'It made a pyramid out of maps of one size; ours is one.',
            )
        )
    channels = [spec.out_channels[level] for level in levels]
    for path, value in new_channels(host, maps, channels):
        changes.append(Change((*below, *path), value, 'Channels of the new maps.'))
    for path, preprocessor in preprocessor_paths(cfg.model) if in_channels == 3 else ():
        for key, value in normalization_changes(preprocessor).items():
            reason = "ImageNet's statistics, on RGB, as the weights were trained."
            changes.append(Change(('model', *path, key), value, reason))
    if isinstance(cfg.get('optim_wrapper'), Mapping):
        for key, (value, reason) in optimizer_changes(
            cfg.optim_wrapper, scope, spec.family
        ).items():
            replaces = isinstance(value, dict)
            changes.append(Change(('optim_wrapper', key), value, reason, replaces))
    if cfg.get('load_from'):
        changes.append(Change(('load_from',), None, 'It was for the old backbone.'))
    return changes


def _is_same_swin(old: Mapping[str, Any], spec: BackboneSpec) -> bool:
    """Whether the old backbone is a Swin of the wanted size, so that its weights can be kept."""
    kind = type_name(old)
    if spec.family != 'sparsevit' or kind not in _SWINS:
        return False
    found = SwinArch.build(
        old.get('arch', 'tiny'),
        old.get('width', 1.0),
        old.get('embed_dims'),
        old.get('depths'),
        old.get('num_heads'),
    )
    wanted = spec.sizes
    return all(getattr(found, key) == getattr(wanted, key) for key in SWIN_SIZES)


def _swin_to_sparse(old: Mapping[str, Any], spec: BackboneSpec, path: FieldPath) -> list[Change]:
    changes = [
        Change((*path, 'type'), 'sparsevit_mm.SparseViT', 'The same network, with a schedule.')
    ]
    if spec.ratios is not None:
        changes.append(Change((*path, 'pruning_ratios'), spec.ratios, 'Windows to skip.'))
    importance = spec.importance or old.get('importance', FOR_OWN_DATA)
    if importance != old.get('importance'):
        changes.append(Change((*path, 'importance'), importance, RANKED_BY, replaces=True))
    if spec.checkpoint is not None:
        init_cfg = dict(type='Pretrained', checkpoint=spec.checkpoint) if spec.checkpoint else None
        if init_cfg is not None and spec.channels is not None and old.get('in_channels', 3) != 3:
            init_cfg['channels'] = spec.channels
        changes.append(Change((*path, 'init_cfg'), init_cfg, 'Weights to start from.', True))
    return changes


def _is_there(cfg: Config, change: Change) -> bool:
    found: Any = cfg._cfg_dict
    for key in change.path:
        if isinstance(key, str) and (not isinstance(found, Mapping) or key not in found):
            return False
        found = found[key]
    return bool(_plain(found) == _plain(change.value))


def _apply(cfg: Config, change: Change) -> None:
    place: Any = cfg._cfg_dict
    for key in change.path[:-1]:
        if isinstance(place, dict) and key not in place:
            place[key] = ConfigDict()
        place = place[key]
    value = deepcopy(change.value)
    last = change.path[-1]
    if isinstance(place, tuple):
        raise ConfigError(
            f'{".".join(map(str, change.path))} is in a tuple, but must be in a dict or a list.'
        )
    place[last] = ConfigDict(value) if isinstance(value, dict) else value


def _plain(value: Any) -> Any:
    """The value with dicts and lists only, for comparing."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
