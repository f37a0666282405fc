"""Counts the multiply-accumulates of a Swin backbone for any schedule and input size.

As in the papers, only matrix products are counted (qkv, attention, projection, FFN, patch embedding
and merging), with windows as padded. Norms, biases, softmax and activations are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.pruning.schedule import PruningSchedule, stage_side


@dataclass(frozen=True)
class BlockMacs:
    """Cost of one block.

    Attributes:
        kept: Number of windows computed in each image.
        total: Number of windows in the grid.
        macs: MACs, summed over the batch.
    """

    kept: int
    total: int
    macs: int


@dataclass(frozen=True)
class BackboneMacs:
    """Cost of a backbone.

    Attributes:
        patch_embed: MACs of the patch embedding, summed over the batch.
        blocks: For each stage one `BlockMacs` per block.
        merging: MACs of the patch merging after each stage but the last.
    """

    patch_embed: int
    blocks: tuple[tuple[BlockMacs, ...], ...]
    merging: tuple[int, ...]

    @property
    def stages(self) -> tuple[int, ...]:
        """MACs of the blocks of each stage."""
        return tuple(sum(block.macs for block in stage) for stage in self.blocks)

    @property
    def total(self) -> int:
        """MACs of the whole backbone."""
        return self.patch_embed + sum(self.stages) + sum(self.merging)


def block_macs_per_window(channels: int, hidden: int, window_size: int) -> int:
    """Counts the MACs of one block on one window.

    Args:
        channels: Channels C of a token.
        hidden: Hidden channels of the FFN; 4 * C gives SparseViT's 12 * C**2 + 98 * C per token.
        window_size: Side of a window in tokens.
    """
    tokens = window_size**2
    return tokens * (4 * channels**2 + 2 * channels * hidden + 2 * tokens * channels)


def backbone_macs(
    arch: SwinArch, schedule: PruningSchedule, height: int, width: int, batch: int = 1
) -> BackboneMacs:
    """Counts the MACs of a Swin backbone under a schedule.

    Args:
        arch: Sizes of the backbone.
        schedule: The pruning schedule.
        height: Input height in pixels.
        width: Input width in pixels.
        batch: Number of images.

    Returns:
        MACs of each part, summed over the batch.
    """
    kept = schedule.kept_windows(height, width, arch.patch_size, arch.window_size)

    def map_tokens(stage: int) -> int:
        return math.prod(stage_side(side, stage, arch.patch_size) for side in (height, width))

    blocks = tuple(
        tuple(
            BlockMacs(
                count.kept,
                count.total,
                batch * count.kept * block_macs_per_window(channels, hidden, arch.window_size),
            )
            for count in counts
        )
        for counts, channels, hidden in zip(
            kept[: arch.num_computed], arch.stage_dims, arch.hidden_dims
        )
    )
    return BackboneMacs(
        patch_embed=batch * map_tokens(0) * arch.in_channels * arch.patch_size**2 * arch.embed_dims,
        blocks=blocks,
        merging=tuple(
            batch * map_tokens(stage + 1) * 4 * channels * 2 * channels
            for stage, channels in enumerate(arch.stage_dims[: arch.num_computed - 1])
        ),
    )
