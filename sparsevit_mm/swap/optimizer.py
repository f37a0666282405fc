"""Image normalization and optimizer settings that suit the new backbone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sparsevit_mm.checks.configs import type_name

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
"""Mean and standard deviation of RGB images that all released weights were trained with."""

NO_DECAY = dict(norm_decay_mult=0.0, bias_decay_mult=0.0)
UNDECAYED_PARAMETERS = {
    'sparsevit': ('absolute_pos_embed', 'relative_position_bias_table'),
    'swin-hat': ('absolute_pos_embed', 'relative_position_bias_table', 'position', 'gamma'),
    'fastervit': ('position', 'gamma'),
}
"""Parameters without weight decay by family, besides norms and biases."""

_ADAMW = {
    # What the framework's own Swin configs train with, for batches of 16.
    'mmseg': dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
}
_ADAMW_ELSEWHERE = dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05)

_DECAY = {'Adam': 0.0, 'AdamW': 0.01}
"""What PyTorch's optimizers decay weights by if not told."""

_KEPT_OPTIMIZERS = ('Adam', 'AdamW')
_MUCH_HIGHER = 2.0  # times the rate that the framework trains Swin with

_NORMALIZING = ('DetDataPreprocessor', 'SegDataPreProcessor', 'Det3DDataPreprocessor')


def preprocessor_paths(model: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Finds the data preprocessors of a model that normalize images, with their paths."""
    for path in (
        ('data_preprocessor',),
        ('data_preprocessor', 'data_preprocessor'),
        ('detector', 'data_preprocessor'),
    ):
        found: Any = model
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping) and ('mean' in found or type_name(found) in _NORMALIZING):
            yield path, found


def normalization_changes(preprocessor: Mapping[str, Any]) -> dict[str, Any]:
    """Finds the fields of a preprocessor that must change for ImageNet's statistics."""
    wanted = {**IMAGENET, 'rgb_to_bgr': False} if 'rgb_to_bgr' in preprocessor else IMAGENET
    return {
        key: value
        for key, value in wanted.items()
        if not _same(preprocessor.get(key, False), value)
    }


def optimizer_changes(
    optim_wrapper: Mapping[str, Any], scope: str | None, family: str
) -> dict[str, tuple[Any, str]]:
    """Finds the fields of an optimizer wrapper that must change, with new value and reason.

    Adam and AdamW are kept with their learning rates; any other optimizer is replaced by AdamW.
    Learning rates that the config sets for parts of the model are kept in the former case.

    Args:
        optim_wrapper: Config of the optimizer wrapper.
        scope: Scope of the framework, such as 'mmseg'.
        family: Family of the new backbone, a key of `UNDECAYED_PARAMETERS`.
    """
    changes: dict[str, tuple[Any, str]] = {}
    optimizer = optim_wrapper.get('optimizer') or {}
    kept_keys: dict[str, Any] = {}
    paramwise = optim_wrapper.get('paramwise_cfg') or {}
    if not keeps_optimizer(optim_wrapper):
        changes['optimizer'] = (
            dict(_ADAMW.get(scope or '', _ADAMW_ELSEWHERE)),
            f'AdamW as this framework trains Swin with, for batches of 16; {type_name(optimizer)} '
            'suits convolutional networks.',
        )
    else:
        if 'weight_decay' not in optimizer:
            changes['optimizer'] = (
                {**optimizer, 'weight_decay': _DECAY[type_name(optimizer)]},
                'Its default, which rules by parameter need to be told.',
            )
        kept_keys = {
            key: dict(value) for key, value in (paramwise.get('custom_keys') or {}).items()
        }
    if 'LayerDecay' in str(optim_wrapper.get('constructor')) or 'LearningRateDecay' in str(
        optim_wrapper.get('constructor')
    ):
        changes['constructor'] = (
            'DefaultOptimWrapperConstructor',
            'Learning rates by layer were those of the old backbone.',
        )
    keys = {key: value for key, value in kept_keys.items() if not _is_of_a_layer(key)}
    # Where two rules match a parameter, mmengine applies only the one with the longer name.
    rate = {key: value for key, value in keys.get('backbone', {}).items() if key == 'lr_mult'}
    for name in UNDECAYED_PARAMETERS[family]:
        keys.setdefault(name, dict(**rate, decay_mult=0.0))
    wanted = {**NO_DECAY, 'custom_keys': keys}
    if not _same(paramwise, wanted):
        changes['paramwise_cfg'] = (
            wanted,
            'Norms, biases and positions do not decay.',
        )
    return changes


def keeps_optimizer(optim_wrapper: Mapping[str, Any]) -> bool:
    """Whether an optimizer, named or given as a class, stays when the backbone is swapped."""
    return type_name(optim_wrapper.get('optimizer')) in _KEPT_OPTIMIZERS


def kept_optimizer_note(optim_wrapper: Mapping[str, Any], scope: str | None) -> str:
    """Says why a kept optimizer stays, and how its rate compares to that for a Swin.

    Args:
        optim_wrapper: Config of the optimizer wrapper.
        scope: Scope of the framework, such as 'mmseg'.
    """
    optimizer = optim_wrapper['optimizer']
    rate: Any = optimizer.get('lr')
    usual: Any = _ADAMW.get(scope or '', _ADAMW_ELSEWHERE)['lr']
    note = f'{type_name(optimizer)} stays with lr {rate}, because it suits transformers, too'
    usually = f'this framework trains Swin with lr {usual:g} for batches of 16'
    if isinstance(rate, (int, float)) and rate > _MUCH_HIGHER * usual:
        return f'{note}; but {usually}: lower it if the pretrained weights are lost.'
    return f'{note}; {usually}.'


def _is_of_a_layer(key: str) -> bool:
    """Whether a rule names a layer inside the old backbone."""
    return key.startswith('backbone.')


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, (list, tuple)) and isinstance(found, (list, tuple)):
        return list(found) == list(wanted)
    return bool(found == wanted)
