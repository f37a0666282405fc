"""Loads a checkpoint of any known layout into a backbone.

A file is recognized by its keys. Every tensor must fit, and the tensors that were loaded, resized,
missing or left over are reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparsevit_mm.checkpoints.layouts import (
    FASTERVIT,
    LEARNED,
    SWIN,
    Family,
    Layout,
    recognize_layout,
    translate,
)
from sparsevit_mm.checkpoints.reading import read_content
from sparsevit_mm.errors import CheckpointError
from sparsevit_mm.ops.resizing import resize_bias_table, resize_position_embedding

WRAPPERS = ('state_dict', 'model', 'state_dict_ema', 'model_ema')
"""Keys under which training frameworks put the weights, in the order they are looked for."""


CHANNEL_ORDERS = ('rgb', 'bgr')
"""What the first three channels of a network's images can be."""

_DEEPEST_PREFIX = 4  # parts of a model around its backbone
_OUTPUT_NORM = re.compile(r'^norm\d+\.')


@dataclass
class LoadReport:
    """Report of the tensors of a file.

    Attributes:
        path: The file.
        layout: Name of the recognized layout.
        loaded: Parameters of the backbone that were set.
        resized: Loaded parameters that were interpolated to another window or image size.
        missing: Parameters of the backbone that the file lacks; only optional ones can be.
        left_over: Backbone tensors of the file that this backbone does not have.
    """

    path: str
    layout: str
    loaded: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f'{self.path} ({self.layout} layout): {len(self.loaded)} tensors loaded']
        for what, names in (
            ('resized', self.resized),
            ('not in the file', self.missing),
            ('left over', self.left_over),
        ):
            if names:
                parts.append(
                    f'{len(names)} {what} ({", ".join(names[:4])}{", …" * (len(names) > 4)})'
                )
        return ', '.join(parts)


def read_weights(path: str) -> dict[str, Tensor]:
    """Reads the named tensors of a checkpoint without executing anything in it.

    Args:
        path: A file, or an address that mmengine can fetch.

    Returns:
        Tensors by name, without wrappers such as `state_dict` and without a leading `module.`.

    Raises:
        CheckpointError: If the file is missing or holds no named tensors.
    """
    return named_tensors(read_content(path), path)


def named_tensors(content: Any, path: str) -> dict[str, Tensor]:
    """Takes the named tensors out of the content of a checkpoint.

    Args:
        content: Returned by `read_content`.
        path: File or address of the checkpoint, for the error.

    Returns:
        Tensors by name, without wrappers such as `state_dict` and without a leading `module.`.

    Raises:
        CheckpointError: If the content is no dictionary.
    """
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f'the checkpoint {path} holds a {type(content).__name__}, but must hold a '
            'dictionary of named tensors.'
        )
    weights = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    return _strip_prefix(weights, 'module.')


def load_pretrained_swin(
    backbone: nn.Module,
    path: str | Path,
    prefix: str | None = None,
    own: str = r'(?!)',
    channels: str | None = None,
) -> LoadReport:
    """Loads a Swin checkpoint of any known layout into a backbone with MMDetection's names.

    Args:
        backbone: The backbone.
        path: A bare backbone, or a detector or segmentor with the backbone under `backbone.`.
        prefix: Prefix of the backbone's keys in the file; `backbone.` is recognized by default.
        own: Pattern of parameters that a Swin does not have and the file may lack.
        channels: What the images' first three channels are, see `_fit_channels`; None if the file
            must be for as many channels as the network.

    Returns:
        Which tensors were loaded, resized, missing and left over.

    Raises:
        CheckpointError: If the file is no Swin or a Swin of other sizes; the backbone is then
            unchanged.
    """
    translated, report = _read_backbone(str(path), SWIN, prefix)
    _fit_channels(translated, 'patch_embed.projection.weight', backbone, path, channels)
    arch: Any = backbone.arch
    built, of_arch = arch.num_computed, len(arch.depths)
    unused = [name for name in translated if _lies_behind(name, built, of_arch)]
    translated = {name: weight for name, weight in translated.items() if name not in unused}
    resized = {name: resize_to_fit(backbone, name, weight) for name, weight in translated.items()}
    report.resized = [name for name in resized if resized[name] is not translated[name]]
    wrong = _copy_fitting(backbone, resized, report, f'{SWIN.optional}|{own}')
    report.left_over += unused
    if wrong:
        raise CheckpointError(
            f'the checkpoint {path} is of another architecture: {_summary(wrong)}; choose the '
            'arch, depths and width it was trained with.'
        )
    return report


def _lies_behind(name: str, built: int, of_arch: int) -> bool:
    """Whether a parameter is of a stage that the last output does not need."""
    if built == of_arch:
        return False
    stage = re.match(r'stages\.(\d+)\.|norm(\d+)\.', name)
    if stage is None:
        return False
    number = int(stage[1] or stage[2])
    return built <= number < of_arch or name.startswith(f'stages.{built - 1}.downsample.')


def load_pretrained_fastervit(
    backbone: nn.Module,
    path: str | Path,
    prefix: str | None = None,
    channels: str | None = None,
    *,
    describe: Callable[[Mapping[str, Tensor]], str],
) -> LoadReport:
    """Loads a FasterViT checkpoint of its authors or of this package, of any window size.

    Args:
        backbone: A FasterViT.
        path: A classifier, a bare backbone, or a whole model with the backbone under `backbone.`.
        prefix: Prefix of the backbone's keys in the file; `backbone.` is recognized by default.
        channels: As in `load_pretrained_swin`.
        describe: Returns the name of the variant that parameters belong to, for the error.

    Returns:
        Which tensors were loaded, missing and left over.

    Raises:
        CheckpointError: If the file is no FasterViT or one of another variant; the backbone is then
            unchanged.
    """
    translated, report = _read_backbone(str(path), FASTERVIT, prefix)
    _fit_channels(translated, 'patch_embed.0.weight', backbone, path, channels)
    wanted = backbone.state_dict()
    # The backbone may lack the last stages, which are named `levels` in parameters.
    stages = {name.split('.')[1] for name in wanted if name.startswith('levels.')}
    unused = [
        name
        for name in translated
        if name.startswith('levels.') and name.split('.')[1] not in stages
    ]
    unused += [
        name
        for name in translated
        if name.startswith(f'levels.{max(stages)}.downsample.') and name not in wanted
    ]
    fitting = {name: weight for name, weight in translated.items() if name not in unused}
    wrong = _copy_fitting(backbone, fitting, report, FASTERVIT.optional)
    report.left_over += unused
    for stage in sorted(stages):
        carriers = f'levels.{stage}.carrier_pooling.conv.weight'
        if (carriers in wanted) != (carriers in translated):
            has, lacks = ('has', 'has none') if carriers in translated else ('has no', 'wants them')
            raise CheckpointError(
                f'the checkpoint {path} {has} carrier tokens in stage {stage}, but the network '
                f'{lacks} there: set hat to what the checkpoint was trained with.'
            )
    if wrong:
        raise CheckpointError(
            f'the checkpoint {path} holds {describe(translated)}, but the network is '
            f'{describe(wanted)}: {_summary(wrong)}.'
        )
    return report


def _read_backbone(
    path: str, family: Family, prefix: str | None
) -> tuple[dict[str, Tensor], LoadReport]:
    """Reads the backbone of a file under our names, and begins its report."""
    weights = read_weights(path)
    if prefix is not None:
        weights = _strip_prefix(weights, prefix.rstrip('.') + '.')
    _, inner, layout = find_backbone(weights, family)
    if layout is None:
        seen = ', '.join(list(weights)[:3]) or 'no tensors'
        raise CheckpointError(
            f'the checkpoint {path} holds no {family.name} backbone in {family.origins} (it begins '
            f'with {seen}).'
        )
    return translate(inner, layout), LoadReport(path, layout.name)


def find_backbone(
    weights: dict[str, Tensor], family: Family
) -> tuple[str, dict[str, Tensor], Layout | None]:
    """Finds the part of a model, such as `backbone.` or `encoder.`, that has a known layout.

    Of equals that a model has twice, such as a student and its teacher, the teacher is taken, else
    the first.

    Args:
        weights: Named tensors of a backbone or a model.
        family: The family that is looked for.

    Returns:
        The prefix of its names, its tensors without the prefix, and its layout; '', all tensors and
        None if there is none.
    """
    prefixes = dict.fromkeys(
        prefix for name in weights for prefix in _prefixes(name.split('.')[:-1])
    )
    for prefix in sorted(prefixes, key=lambda each: (each.count('.'), 'teacher' not in each)):
        inner = {
            name[len(prefix) :]: weight
            for name, weight in weights.items()
            if name.startswith(prefix)
        }
        layout = recognize_layout(inner, family)
        if layout is not None:
            return prefix, inner, layout
    return '', weights, None


def _prefixes(modules: list[str]) -> Iterator[str]:
    """Yields '', 'model.', 'model.backbone.' and so on; numbers name no part of a model."""
    prefix = ''
    yield prefix
    for name in modules[:_DEEPEST_PREFIX]:
        if name.isdigit():
            return
        prefix += f'{name}.'
        yield prefix


def _fit_channels(
    weights: dict[str, Tensor],
    name: str,
    backbone: nn.Module,
    path: str | Path,
    channels: str | None,
) -> None:
    """Makes the first convolution of a file for RGB images one for the network's images.

    Further channels get the mean over R, G and B. For images of fewer than three channels the
    weights are summed, and shared among the channels.

    Args:
        weights: Parameters under our names, changed in place.
        name: Weight of the first convolution.
        backbone: The network.
        path: The file, for the error.
        channels: What the first three channels of the network's images are: 'rgb' or 'bgr'.

    Raises:
        CheckpointError: If the numbers of channels differ and `channels` does not say what to do.
    """
    if channels not in (None, *CHANNEL_ORDERS):
        raise CheckpointError(
            f'channels in init_cfg is {channels!r}, but must be one of {CHANNEL_ORDERS}.'
        )
    wanted = backbone.get_parameter(name).shape
    weight = weights.get(name)
    if weight is None or weight.ndim != 4 or weight.shape[1] == wanted[1]:
        return
    if channels is None or weight.shape[1] != 3:
        way_out = (
            "say what the images' first three are with channels='rgb' or 'bgr' in init_cfg, or "
            if weight.shape[1] == 3
            else ''
        )
        raise CheckpointError(
            f'the checkpoint {path} is of another architecture: it is for images of '
            f'{weight.shape[1]} channels, but the network takes {wanted[1]}: '
            f'{way_out}leave the checkpoint out.'
        )
    weight = weight.flip(1) if channels == 'bgr' else weight
    mean = weight.mean(1, keepdim=True)
    if wanted[1] < 3:
        weights[name] = (mean * 3 / wanted[1]).repeat(1, wanted[1], 1, 1)
    else:
        weights[name] = torch.cat([weight, mean.repeat(1, wanted[1] - 3, 1, 1)], dim=1)


def _copy_fitting(
    backbone: nn.Module, weights: Mapping[str, Tensor], report: LoadReport, optional: str
) -> list[str]:
    """Copies the weights if all fit and only optional ones are missing; else copies nothing.

    Returns:
        What does not fit, as sentences.
    """
    wanted: dict[str, Tensor] = backbone.state_dict(keep_vars=True)
    wrong = []
    for name, weight in weights.items():
        if name not in wanted:
            report.left_over.append(name)
        elif weight.shape != wanted[name].shape:
            shape, wish = tuple(weight.shape), tuple(wanted[name].shape)
            wrong.append(f'{name} is {shape} instead of {wish}')
        else:
            report.loaded.append(name)
    report.missing = [name for name in wanted if name not in weights]
    missing = [n for n in report.missing if not re.search(optional, n)]
    wrong += [f'{n} is missing' for n in missing if not LEARNED.match(n)]
    left_over = [n for n in report.left_over if not _OUTPUT_NORM.search(n)]
    wrong += [f'{n} has no place' for n in left_over if not LEARNED.match(n)]
    if not wrong:
        with torch.no_grad():
            for name in report.loaded:
                wanted[name].copy_(weights[name])
    return wrong


def _summary(wrong: list[str]) -> str:
    others = f' ({len(wrong) - 1} more such)' if len(wrong) > 1 else ''
    return f'{wrong[0]}{others}'


def _strip_prefix(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Removes a prefix and keeps only names that have it; if none has, returns all as they are."""
    inner = {
        name[len(prefix) :]: weight for name, weight in weights.items() if name.startswith(prefix)
    }
    return inner or weights


def resize_to_fit(backbone: Any, name: str, weight: Tensor) -> Tensor:
    """Interpolates a table of positions to the window or image size of a Swin.

    Args:
        backbone: The Swin.
        name: Name of its parameter that the tensor is for.
        weight: The tensor.

    Returns:
        The interpolated table; the tensor itself if it fits or is no such table.
    """
    if not name.endswith(('relative_position_bias_table', 'absolute_pos_embed')):
        return weight
    target = dict(backbone.named_parameters()).get(name)
    if target is None or weight.ndim != target.ndim or weight.shape == target.shape:
        return weight
    if name.endswith('relative_position_bias_table') and weight.shape[1] == target.shape[1]:
        return resize_bias_table(weight, (round(target.shape[0] ** 0.5) + 1) // 2)
    if name == 'absolute_pos_embed' and weight.shape[2] == target.shape[2]:
        side = round(weight.shape[1] ** 0.5)
        if side * side == weight.shape[1]:
            return resize_position_embedding(weight, (side, side), backbone.position_grid)
    return weight
