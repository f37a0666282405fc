"""Converts checkpoint files from one parameter layout to another.

Our Swin has the parameter names of MMDetection, so one file serves this package, MMDetection and
MMSegmentation. Only index buffers, which follow from the window size, are added for MMDetection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sparsevit_mm.checkpoints.bevdet import BEVDET, bevdet_in_our_names
from sparsevit_mm.checkpoints.files import read_checkpoint, write_checkpoint
from sparsevit_mm.checkpoints.layouts import (
    DERIVED_BUFFERS,
    FASTERVIT,
    LEARNED,
    SWIN,
    Family,
    recognize_layout,
    translate,
)
from sparsevit_mm.checkpoints.loading import find_backbone
from sparsevit_mm.errors import CheckpointError

BACKBONE = 'backbone.'

_BIAS_TABLE = re.compile(r'attn\.w_msa\.relative_position_bias_table$')


@dataclass(frozen=True)
class Conversion:
    """Report of a conversion.

    Attributes:
        path: The file written.
        family: 'Swin', 'FasterViT' or 'BEVDet'.
        layout: Name of the layout that was recognized.
        backbone: Number of backbone tensors in the new file.
        others: Number of tensors of heads and necks, which are copied unchanged.
        dropped: Number of tensors of the old file that are not in the new one: classifiers, and
            buffers that follow from the architecture.
        added: Number of added buffers that follow from the architecture.
    """

    path: Path
    family: str
    layout: str
    backbone: int
    others: int
    dropped: int
    added: int

    def __str__(self) -> str:
        others = f', {self.others} of heads and necks as they were' if self.others else ''
        added = f', {self.added} index buffers added' if self.added else ''
        return (
            f'{self.path}: {self.backbone} tensors of a {self.family} in the {self.layout} '
            f'layout{others}{added}, {self.dropped} left out.'
        )


def convert_to_ours(source: str | Path, target: str | Path) -> Conversion:
    """Converts a checkpoint of any known layout to the parameter names of this package.

    A converted Swin also loads into the `SwinTransformer` of MMDetection and MMSegmentation.

    Args:
        source: A bare backbone, a whole model, or a BEVDet of its authors, whose boxes are then in
            the convention of MMDetection3D.
        target: The file to write; it holds the whole model if the source has its backbone under
            `backbone.`, else the backbone alone.

    Returns:
        What was converted.

    Raises:
        CheckpointError: If the source is in no known layout, or the target cannot be written.
    """
    weights, meta = read_checkpoint(source)
    layout = recognize_layout(weights, BEVDET)
    if layout is not None and layout is not BEVDET.layouts[0]:
        translated = bevdet_in_our_names(weights)
        path = write_checkpoint({'meta': meta, 'state_dict': translated}, target)
        backbone = sum(name.startswith(BACKBONE) for name in translated)
        others, dropped = len(translated) - backbone, len(weights) - len(translated)
        return Conversion(path, BEVDET.name, layout.name, backbone, others, dropped, added=0)
    return _convert(source, target, (SWIN, FASTERVIT), index_buffers=False)


def convert_to_mmdet(source: str | Path, target: str | Path) -> Conversion:
    """Converts a Swin of any known layout, or a trained SparseViT, to the Swin of MMDetection.

    The file has every tensor that MMDetection's `SwinTransformer` saves, so it loads strictly. The
    parameters do not depend on the pruning schedule, which is not in the file, nor is what an
    importance has learned.

    Args:
        source: A bare backbone, or a whole detector with the backbone under `backbone.`.
        target: The file to write.

    Returns:
        What was converted.

    Raises:
        CheckpointError: If the source is no Swin, or the target cannot be written.
    """
    return _convert(source, target, (SWIN,), index_buffers=True)


def relative_position_index(window_size: int) -> Tensor:
    """Computes which entry of a bias table each pair of tokens of a window uses.

    Args:
        window_size: Side w of the window in tokens.

    Returns:
        (w², w²) integers: the row is the query, the column the key, both row-major.
    """
    places = torch.cartesian_prod(torch.arange(window_size), torch.arange(window_size))
    offsets = places[:, None] - places[None] + window_size - 1
    return offsets[..., 0] * (2 * window_size - 1) + offsets[..., 1]


def _convert(
    source: str | Path, target: str | Path, families: tuple[Family, ...], index_buffers: bool
) -> Conversion:
    weights, meta = read_checkpoint(source)
    for family in families:
        prefix, inner, layout = find_backbone(weights, family)
        if layout is not None:
            break
    else:
        known = ', or of '.join(f'a {family.name} in {family.origins}' for family in families)
        raise CheckpointError(
            f'the checkpoint {source} begins with {next(iter(weights), "nothing")}, but must be '
            f'of {known}.'
        )
    others: dict[str, Tensor] = {}
    if prefix == BACKBONE:
        others = {name: weight for name, weight in weights.items() if not name.startswith(prefix)}
    else:
        prefix = ''  # a bare backbone, or one inside another model, of which it alone is kept
    if index_buffers:  # MMDetection's Swin ranks no windows
        inner = {name: weight for name, weight in inner.items() if not LEARNED.match(name)}
    translated = translate(inner, layout)
    buffers = _index_buffers(translated) if index_buffers else {}
    state_dict = {prefix + name: weight for name, weight in {**translated, **buffers}.items()}
    path = write_checkpoint({'meta': meta, 'state_dict': {**state_dict, **others}}, target)
    kept = sum(not DERIVED_BUFFERS.search(name) for name in translated)
    return Conversion(
        path,
        family.name,
        layout.name,
        backbone=kept,
        others=len(others),
        dropped=len(weights) - len(others) - kept,
        added=len(buffers),
    )


def _index_buffers(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Makes MMDetection's index buffer for each bias table."""
    buffers = {}
    for name, table in weights.items():
        if _BIAS_TABLE.search(name):
            window_size = (round(table.shape[0] ** 0.5) + 1) // 2
            buffers[name.replace('bias_table', 'index')] = relative_position_index(window_size)
    return buffers
