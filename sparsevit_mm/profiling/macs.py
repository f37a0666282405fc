"""Counts the multiply-accumulates of a backbone for any schedule and input size.

As in the papers, only matrix products and convolutions are counted, with windows as padded. Norms,
biases, softmax and activations are left out, and what follows from the weights alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sparsevit_mm.models.fastervit_arch import FasterViTArch
from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.pruning.importance import Importance
from sparsevit_mm.pruning.schedule import KeptCount, PruningSchedule, stage_side

Arch = SwinArch | FasterViTArch


@dataclass(frozen=True)
class BlockMacs:
    """Cost of one block.

    Attributes:
        kept: Number of windows computed in each image; 0 for a convolutional block.
        total: Number of windows in the grid; 0 for a convolutional block.
        macs: MACs, summed over the batch.
        fixed: The part of them that no ratio changes: convolutions and carrier tokens.
    """

    kept: int
    total: int
    macs: int
    fixed: int = 0


@dataclass(frozen=True)
class BackboneMacs:
    """Cost of a backbone.

    Attributes:
        patch_embed: MACs of the patch embedding, summed over the batch.
        blocks: For each stage one `BlockMacs` per block. Pooling its carriers counts to the first.
        merging: MACs of the merging or down-sampling after each stage but the last.
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


def attention_macs(tokens: int, channels: int, hidden: int) -> int:
    """Counts the MACs of attention and FFN among some tokens.

    Args:
        tokens: Tokens that attend to each other: of a window, carriers included, or all carriers.
        channels: Channels C of a token.
        hidden: Hidden channels of the FFN; 4 * C gives SparseViT's 12 * C**2 + 98 * C per token of
            a window of 7.
    """
    return tokens * (4 * channels**2 + 2 * channels * hidden + 2 * tokens * channels)


def backbone_macs(
    arch: Arch, schedule: PruningSchedule, height: int, width: int, batch: int = 1
) -> BackboneMacs:
    """Counts the MACs of a backbone under a schedule.

    Args:
        arch: Sizes of the backbone.
        schedule: The pruning schedule.
        height: Input height in pixels.
        width: Input width in pixels.
        batch: Number of images.

    Returns:
        MACs of each part, summed over the batch.
    """
    sides = [
        tuple(stage_side(side, stage, arch.patch_size) for side in (height, width))
        for stage in range(arch.num_computed)
    ]
    kept = schedule.kept_windows(height, width, arch.patch_size, arch.window_sizes)
    blocks = tuple(
        _attention_stage(arch, stage, map_sides, kept[stage], batch)
        if arch.has_windows[stage]
        else _convolutions(arch, stage, map_sides, batch)
        for stage, map_sides in enumerate(sides)
    )
    # A merging of 2 x 2 tokens, or a convolution of 3 x 3.
    taps = 9 if isinstance(arch, FasterViTArch) else 4
    merging = tuple(
        batch * math.prod(after) * taps * channels * 2 * channels
        for after, channels in zip(sides[1:], arch.stage_dims)
    )
    return BackboneMacs(batch * _patch_embed(arch, height, width), blocks, merging)


def ranking_operations(
    arch: Arch,
    schedule: PruningSchedule,
    importance: Importance,
    height: int,
    width: int,
    batch: int = 1,
) -> int | None:
    """Counts what ranking the windows takes: element-wise operations, which are no MACs.

    Args:
        arch: Sizes of the backbone.
        schedule: The pruning schedule.
        importance: What ranks the windows.
        height: Input height in pixels.
        width: Input width in pixels.
        batch: Number of images.

    Returns:
        Their number, summed over the batch; None if the importance does not tell.
    """
    total = 0
    for stage, ratios in enumerate(schedule.ratios[: arch.num_computed]):
        shifts = {isinstance(arch, SwinArch) and block % 2 for block, r in enumerate(ratios) if r}
        if not shifts:
            continue
        found = importance.operations(arch.stage_dims[stage])
        if found is None:
            return None
        once, of_grid = found
        tokens = math.prod(stage_side(side, stage, arch.patch_size) for side in (height, width))
        total += batch * tokens * (once + len(shifts) * of_grid)
    return total


def _patch_embed(arch: Arch, height: int, width: int) -> int:
    tokens = math.prod(stage_side(side, 0, arch.patch_size) for side in (height, width))
    if isinstance(arch, SwinArch):
        return tokens * arch.in_channels * arch.patch_size**2 * arch.embed_dims
    halves = math.prod(math.ceil(side / 2) for side in (height, width))
    return 9 * arch.in_dim * (halves * arch.in_channels + tokens * arch.dim)


def _convolutions(
    arch: Arch, stage: int, sides: tuple[int, ...], batch: int
) -> tuple[BlockMacs, ...]:
    macs = batch * 2 * math.prod(sides) * 9 * arch.stage_dims[stage] ** 2
    return (BlockMacs(0, 0, macs, macs),) * arch.depths[stage]


def _attention_stage(
    arch: Arch, stage: int, sides: tuple[int, ...], kept: tuple[KeptCount, ...], batch: int
) -> tuple[BlockMacs, ...]:
    channels, hidden = arch.stage_dims[stage], arch.hidden_dims[stage]
    window_size, carriers = arch.window_sizes[stage], 0
    fixed = pooling = 0
    if arch.hat[stage]:
        carriers = arch.ct_size**2
        fixed = attention_macs(kept[0].total * carriers, channels, hidden)
        pooling = _carrier_pooling(arch, stage, sides)
    of_window = attention_macs(window_size**2 + carriers, channels, hidden)
    blocks = []
    for block, count in enumerate(kept):
        always = batch * (fixed + (pooling if block == 0 else 0))
        macs = always + batch * count.kept * of_window
        blocks.append(BlockMacs(count.kept, count.total, macs, always))
    return tuple(blocks)


def _carrier_pooling(arch: Arch, stage: int, sides: tuple[int, ...]) -> int:
    """A depthwise convolution; then, unless plain average pooling does, a product for each axis."""
    (height, width), channels = sides, arch.stage_dims[stage]
    size = arch.window_sizes[stage]
    macs = 9 * channels * height * width
    if arch.carrier_pooling == 'centered' or height % size or width % size:
        rows, cols = (math.ceil(side / size) * arch.ct_size for side in sides)
        macs += channels * rows * width * (height + cols)
    return macs
