"""Parameter layouts of published backbones, as tables of names.

A family of backbones is a list of layouts, of which the first is ours. A layout is recognised by a
key that it has and the rows above it have not, and translated by a list of patterns; a new one is a
new row in its family. Our Swin names are MMDetection's (and MMSegmentation's, and the SparseViT
authors').
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

DERIVED_BUFFERS = re.compile(
    r'(^|\.)(relative_position_index|attn_mask|relative_bias|relative_coords_table)$'
)
"""Buffers that follow from the architecture: never loaded, always computed."""


@dataclass(frozen=True)
class Layout:
    """How one kind of files names the parameters of a backbone.

    Attributes:
        name: What the kind is called in reports.
        marker: Pattern of a key by which the kind is recognised.
        renames: (pattern, replacement) pairs, applied to a key one after the other.
        dropped: Pattern of keys that belong to no backbone, such as the classifier.
        merges_position_first: Whether Swin's patch merging orders its 4 C inputs by position and
            then by channel, as Microsoft's code does, instead of by channel and then by position.
    """

    name: str
    marker: str
    renames: tuple[tuple[str, str], ...] = ()
    dropped: str = r'(?!)'
    merges_position_first: bool = False


@dataclass(frozen=True)
class Family:
    """Backbones whose checkpoints fit each other.

    Attributes:
        name: What the family is called in messages.
        origins: Whose files are known, for messages.
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
_CLASSIFIER = r'^(head|norm)\.'

_SWIN_LAYOUTS = (
    Layout(
        name='mm or SparseViT authors',
        marker=r'^stages\.0\.blocks\.0\.attn\.w_msa\.',
    ),
    Layout(
        name='Microsoft',
        marker=r'^layers\.0\.downsample\.',
        renames=_MICROSOFT_NAMES,
        dropped=_CLASSIFIER,
        merges_position_first=True,
    ),
    # timm's merging stands at the head of the next stage.
    Layout(
        name='timm',
        marker=r'^layers[._]1\.downsample\.',
        renames=(
            *_MICROSOFT_NAMES,
            (r'^stages\.1\.downsample\.', 'stages.0.downsample.'),
            (r'^stages\.2\.downsample\.', 'stages.1.downsample.'),
            (r'^stages\.3\.downsample\.', 'stages.2.downsample.'),
        ),
        dropped=_CLASSIFIER,
        merges_position_first=True,
    ),
)


SWIN = Family(
    name='Swin',
    origins="MMDetection's, the SparseViT authors', Microsoft's or timm's layout",
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
    """The layout a set of parameter names is in, or None if it is none of the family's."""
    names = list(keys)
    for layout in family.layouts:
        if any(re.search(layout.marker, name) for name in names):
            return layout
    return None


def translate(weights: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """Renames a file's parameters to ours and drops what is derived or not of the backbone."""
    translated = {}
    for name, weight in weights.items():
        if DERIVED_BUFFERS.search(name) or re.search(layout.dropped, name):
            continue
        for pattern, replacement in layout.renames:
            name = re.sub(pattern, replacement, name)
        if layout.merges_position_first and '.downsample.' in name:
            weight = _channel_first_merging(weight)
        translated[name] = weight
    return translated


def _channel_first_merging(weight: Tensor) -> Tensor:
    """Reorders the last axis, 4 C, from position-first to channel-first.

    Microsoft's positions run down the rows first: (0, 0), (1, 0), (0, 1), (1, 1).
    """
    by_position = weight.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return by_position.transpose(-1, -2).flatten(-2)
