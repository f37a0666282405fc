"""Reading a checkpoint of any known layout into a Swin-shaped backbone.

Nothing is guessed: a file is recognised by its keys, every tensor must fit, and what was loaded,
resized, missing and left over is reported.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from sparsevit_mm.checkpoints.layouts import recognise_layout, translate
from sparsevit_mm.errors import CheckpointError
from sparsevit_mm.layers.position_bias import resize_bias_table
from sparsevit_mm.layers.position_embedding import resize_position_embedding

WRAPPERS = ('state_dict', 'model', 'state_dict_ema', 'model_ema')
"""Keys under which training frameworks put the weights, in the order they are looked for."""

_OUTPUT_NORM = re.compile(r'^norm\d+\.')


@dataclass
class LoadReport:
    """What became of a file's tensors.

    Attributes:
        path: The file.
        layout: Name of the recognised layout.
        loaded: Our parameters that were set.
        resized: Those of them that were interpolated to another window or image size.
        missing: Our parameters the file does not have; only output norms may be.
        left_over: Backbone tensors of the file that ours has no place for.
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
    """Reads the named tensors of a checkpoint, without executing anything it holds.

    Args:
        path: A file, or an address mmengine can fetch from.

    Returns:
        Names and tensors, freed of wrappers such as `state_dict` and of a leading `module.`.

    Raises:
        CheckpointError: If the file is missing or holds no named tensors.
    """
    try:
        if '://' in path:
            content = CheckpointLoader.load_checkpoint(path, map_location='cpu')
        else:
            content = torch.load(path, map_location='cpu', weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f'the checkpoint {path} does not exist.') from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"the checkpoint {path} is no checkpoint, or holds more than tensors and mmengine's "
            'records, which is not loaded because it could run code.'
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f'the checkpoint {path} cannot be read: {reason}') from error
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f'the checkpoint {path} holds a {type(content).__name__}, but it must hold a '
            'dictionary of named tensors.'
        )
    weights = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    return _strip_prefix(weights, 'module.')


def load_pretrained_swin(
    backbone: nn.Module, path: str | Path, prefix: str | None = None
) -> LoadReport:
    """Loads a Swin checkpoint of any known layout into a backbone with MMDetection's names.

    Args:
        backbone: The backbone; its own parameters decide which tensors are wanted.
        path: A bare backbone or a whole detector or segmentor that has one as `backbone.`.
        prefix: Prefix of the backbone's keys in the file; `backbone.` is found without being told.

    Returns:
        What was loaded, resized, missing and left over.

    Raises:
        CheckpointError: If the file is no Swin or a Swin of other sizes; the backbone is then
            unchanged.
    """
    weights = read_weights(str(path))
    for candidate in (prefix, 'backbone.'):
        if candidate is not None:
            weights = _strip_prefix(weights, candidate.rstrip('.') + '.')
    layout = recognise_layout(weights)
    if layout is None:
        seen = ', '.join(list(weights)[:3]) or 'no tensors'
        raise CheckpointError(
            f"the checkpoint {path} holds no Swin backbone in MMDetection's, the SparseViT "
            f"authors', Microsoft's or timm's layout (it begins with {seen})."
        )
    report = LoadReport(str(path), layout.name)
    wanted = dict(backbone.named_parameters())
    fitting, wrong = {}, []
    for name, weight in translate(weights, layout).items():
        if name not in wanted:
            report.left_over.append(name)
            continue
        weight, target = weight.detach(), wanted[name]
        resized = _resize(backbone, name, weight, target)
        if resized.shape != target.shape:
            wrong.append(f'{name} is {tuple(weight.shape)} instead of {tuple(target.shape)}')
            continue
        if resized is not weight:
            report.resized.append(name)
        fitting[name] = resized
        report.loaded.append(name)
    report.missing = [name for name in wanted if name not in fitting]
    wrong += [f'{name} is missing' for name in report.missing if not _OUTPUT_NORM.match(name)]
    wrong += [f'{name} has no place' for name in report.left_over if not _OUTPUT_NORM.match(name)]
    if wrong:
        others = f' ({len(wrong) - 1} more such)' if len(wrong) > 1 else ''
        raise CheckpointError(
            f'the checkpoint {path} is of another architecture: {wrong[0]}{others}; choose the '
            'arch, depths and width it was trained with.'
        )
    with torch.no_grad():
        for name, weight in fitting.items():
            wanted[name].copy_(weight)
    return report


def _strip_prefix(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Keeps what stands under a prefix, if anything does."""
    inner = {
        name[len(prefix) :]: weight for name, weight in weights.items() if name.startswith(prefix)
    }
    return inner or weights


def _resize(backbone: Any, name: str, weight: Tensor, target: Tensor) -> Tensor:
    """Interpolates what depends on the window or the image size; returns anything else as it is."""
    if weight.ndim != target.ndim or weight.shape == target.shape:
        return weight
    if name.endswith('relative_position_bias_table') and weight.shape[1] == target.shape[1]:
        return resize_bias_table(weight, (round(target.shape[0] ** 0.5) + 1) // 2)
    if name == 'absolute_pos_embed' and weight.shape[2] == target.shape[2]:
        side = round(weight.shape[1] ** 0.5)
        if side * side == weight.shape[1]:
            return resize_position_embedding(weight, (side, side), backbone.position_grid)
    return weight
