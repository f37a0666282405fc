"""Parameter layouts of published backbones, as tables of names.

Each family of backbones has a list of layouts, of which the first is ours. A layout is recognized
by a key that no layout before it has, and translated by a list of patterns. To support another
layout, add it to the list of its family. Our Swin names are those of MMDetection, MMSegmentation
and the SparseViT authors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

LEARNED = re.compile(r'importance_state\.')
"""Names of what an importance has learned: no other network has it, and ours can do without."""

DERIVED_BUFFERS = re.compile(
    r'(^|\.)(relative_position_index|attn_mask|relative_bias|relative_coords_table)$'
)
"""Buffers that follow from the architecture; they are computed, never loaded."""


@dataclass(frozen=True)
class Layout:
    """Parameter names of a backbone in one kind of files.

    Attributes:
        name: Name of the layout in reports.
        marker: Pattern of a key by which the layout is recognized.
        renames: (pattern, replacement) pairs, applied to each key in order.
        dropped: Pattern of keys that do not belong to the backbone, such as the classifier.
        merges_position_first: Whether Swin's patch merging orders its 4 C inputs by position and
            then by channel, as Microsoft's code does, instead of by channel and then by position.
        splits_qkv: Whether queries, keys and values have a parameter each instead of a common one.
    """

    name: str
    marker: str
    renames: tuple[tuple[str, str], ...] = ()
    dropped: str = r'(?!)'
    merges_position_first: bool = False
    splits_qkv: bool = False


@dataclass(frozen=True)
class Family:
    """Backbones with the same parameters under different names.

    Attributes:
        name: Name of the family in messages.
        origins: Sources of the known layouts, for messages.
        layouts: The known layouts, ours first.
        optional: Pattern of our parameters that a file may lack.
    """

    name: str
    origins: str
    layouts: tuple[Layout, ...]
    optional: str


_MICROSOFT_NAMES = (
    (r'^layers[._]', 'stages.'),
    (r'\.attn\.', '.attn.w_msa.'),
    (r'\.mlp\.fc1\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.fc2\.', '.ffn.layers.1.'),
    (r'^patch_embed\.proj\.', 'patch_embed.projection.'),
)
_TORCHVISION_NAMES = (
    (r'^features\.0\.0\.', 'patch_embed.projection.'),
    (r'^features\.0\.2\.', 'patch_embed.norm.'),
    *((rf'^features\.{2 * stage + 1}\.', f'stages.{stage}.blocks.') for stage in range(4)),
    *((rf'^features\.{2 * stage + 2}\.', f'stages.{stage}.downsample.') for stage in range(3)),
    (r'\.attn\.', '.attn.w_msa.'),
    (r'\.mlp\.0\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.3\.', '.ffn.layers.1.'),
)
_HUGGING_FACE_NAMES = (
    (r'^embeddings\.patch_embeddings\.projection\.', 'patch_embed.projection.'),
    (r'^embeddings\.norm\.', 'patch_embed.norm.'),
    (r'^encoder\.layers\.', 'stages.'),
    (r'\.layernorm_before\.', '.norm1.'),
    (r'\.layernorm_after\.', '.norm2.'),
    (r'\.attention\.self\.', '.attn.w_msa.'),
    (r'\.attention\.output\.dense\.', '.attn.w_msa.proj.'),
    (r'\.intermediate\.dense\.', '.ffn.layers.0.0.'),
    (r'\.output\.dense\.', '.ffn.layers.1.'),
    *((rf'^hidden_states_norms\.stage{stage + 1}\.', f'norm{stage}.') for stage in range(4)),
)
_CLASSIFIER = r'^(head|norm)\.'
_MASK_TOKEN = r'^mask_token$'  # of files trained by predicting what is masked, such as SimMIM's

_SWIN_LAYOUTS = (
    Layout(
        name='mm or SparseViT authors',
        marker=r'^stages\.0\.blocks\.0\.attn\.w_msa\.',
        dropped=_MASK_TOKEN,
    ),
    Layout(
        name='Microsoft',
        marker=r'^layers\.0\.downsample\.',
        renames=_MICROSOFT_NAMES,
        dropped=f'{_CLASSIFIER}|{_MASK_TOKEN}',
        merges_position_first=True,
    ),
    # timm has the patch merging at the beginning of the next stage.
    Layout(
        name='timm',
        marker=r'^layers[._]1\.downsample\.',
        renames=(
            *_MICROSOFT_NAMES,
            (r'^stages\.1\.downsample\.', 'stages.0.downsample.'),
            (r'^stages\.2\.downsample\.', 'stages.1.downsample.'),
            (r'^stages\.3\.downsample\.', 'stages.2.downsample.'),
        ),
        dropped=f'{_CLASSIFIER}|{_MASK_TOKEN}',
        merges_position_first=True,
    ),
    Layout(
        name='torchvision',
        marker=r'^features\.1\.0\.attn\.',
        renames=_TORCHVISION_NAMES,
        dropped=_CLASSIFIER,
        merges_position_first=True,
    ),
    Layout(
        name='Hugging Face',
        marker=r'^encoder\.layers\.0\.blocks\.0\.layernorm_before\.',
        renames=_HUGGING_FACE_NAMES,
        dropped=r'^(layernorm|pooler|classifier)\.|^embeddings\.mask_token$',
        merges_position_first=True,
        splits_qkv=True,
    ),
)


SWIN = Family(
    name='Swin',
    origins="MMDetection's, the SparseViT authors', Microsoft's, timm's, torchvision's or Hugging "
    "Face's layout",
    layouts=_SWIN_LAYOUTS,
    optional=r'^norm\d+\.',
)

_FASTERVIT_LAYOUTS = (
    Layout(
        name='sparsevit_mm',
        marker=r'^patch_embed\.0\.weight$',
        dropped=_CLASSIFIER,
    ),
    Layout(
        name='FasterViT authors',
        marker=r'^patch_embed\.conv_down\.0\.weight$',
        renames=(
            (r'^patch_embed\.conv_down\.', 'patch_embed.'),
            (r'\.hat_(norm1|norm2|attn|mlp)\.', r'.carriers.\1.'),
            (r'\.hat_pos_embed\.', '.carriers.position.'),
            (r'\.gamma([12])$', r'.carriers.gamma\1'),
            (r'\.pos_emb_funct\.', '.position_bias.'),
            (r'\.pos_embed\.cpb_mlp\.', '.position.cpb_mlp.'),
            # The carriers' convolution is stored twice.
            (r'\.global_tokenizer\.(pos_embed|to_global_feature\.pos)\.', '.carrier_pooling.conv.'),
            (r'\.downsample\.reduction\.0\.', '.downsample.reduction.'),
        ),
        dropped=_CLASSIFIER,
    ),
)
FASTERVIT = Family(
    name='FasterViT',
    origins="its authors' or our own layout",
    layouts=_FASTERVIT_LAYOUTS,
    optional=r'^norm\d+\.|\.num_batches_tracked$',
)


def recognize_layout(keys: Iterable[str], family: Family) -> Layout | None:
    """Finds the layout of a set of parameter names.

    Args:
        keys: Names of the parameters.
        family: The family whose layouts are tried in order.

    Returns:
        The layout, or None if it is none of the family.
    """
    names = list(keys)
    for layout in family.layouts:
        if any(re.search(layout.marker, name) for name in names):
            return layout
    return None


def translate(weights: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """Renames parameters to our names.

    Args:
        weights: Named tensors in the given layout.
        layout: The layout.

    Returns:
        The tensors under our names, without derived buffers and what is not of the backbone.
    """
    translated = {}
    for name, weight in weights.items():
        if DERIVED_BUFFERS.search(name) or re.search(layout.dropped, name):
            continue
        for pattern, replacement in layout.renames:
            name = re.sub(pattern, replacement, name)
        if layout.merges_position_first and '.downsample.' in name:
            weight = _channel_first_merging(weight)
        translated[name] = weight
    return _join_qkv(translated) if layout.splits_qkv else translated


def _join_qkv(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stacks the parameters of queries, keys and values of each attention, in this order."""
    joined = {}
    for name, weight in weights.items():
        owner, kind, parameter = ('', *name.rsplit('.', 2))[-3:]
        names = [f'{owner}.{each}.{parameter}' for each in ('query', 'key', 'value')]
        if kind not in ('query', 'key', 'value') or not all(each in weights for each in names):
            joined[name] = weight
        elif kind == 'query':
            joined[f'{owner}.qkv.{parameter}'] = torch.cat([weights[each] for each in names])
    return joined


def _channel_first_merging(weight: Tensor) -> Tensor:
    """Reorders the last axis of length 4 C from position-first to channel-first.

    Microsoft's positions run down the rows first: (0, 0), (1, 0), (0, 1), (1, 1).
    """
    by_position = weight.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return by_position.transpose(-1, -2).flatten(-2)
