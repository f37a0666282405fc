"""SparseViT: a Swin Transformer that skips the windows with little activation.

"SparseViT: Revisiting Activation Sparsity for Efficient High-Resolution Vision Transformer",
CVPR 2023, https://arxiv.org/abs/2303.17605.

The parameters are those of `swin`; everything here may change without breaking checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sparsevit_mm.models.swin import SwinBackbone, SwinBlock, SwinStage
from sparsevit_mm.ops.backend import run_kernels
from sparsevit_mm.ops.exporting import in_graph
from sparsevit_mm.ops.window_grid import WindowGrid
from sparsevit_mm.ops.windows import (
    WindowTokens,
    WindowUpdate,
    gather_windows,
    locate_windows,
    scatter_windows,
    update_windows,
)
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.pruning.selection import WindowRanking, WindowSelection
from sparsevit_mm.registry import MODELS

_CPU_BYTES, _OTHER_BYTES = 4 * 2**20, 256 * 2**20
"""Largest activation in inference: on a CPU what a core's cache holds, elsewhere to save memory."""


@MODELS.register_module()
class SparseViT(SwinBackbone):
    """Swin Transformer with window activation pruning.

    At ratio 0 it is exactly Swin. With a schedule, every block computes LN, attention and FFN only
    on the windows of largest activation and copies the others; merging and output norms are dense.

    Args:
        arch: 'tiny', 'small', 'base' or 'large'; `embed_dims`, `depths`, `num_heads` and `width`
            replace its numbers.
        pruning_ratios: The pruning schedule: a number; one number a stage; or a list a stage of 1,
            ceil(depth / 2) or depth numbers. Change it any time through `pruning_schedule`.
        **swin: Further arguments of `SwinBackbone`, which are MMDetection's, and `padding`.

    Attributes:
        arch: The sizes, a `SwinArch`.
        window_observer: Called with a `WindowSelection` after every block if set; for pictures and
            logs.

    Raises:
        ConfigError: If an argument is outside what is allowed.

    Examples:
        >>> backbone = SparseViT(arch='tiny', pruning_ratios=[[.6], [0.], [.2, .4, .5], [0.]])
        >>> [tuple(level.shape) for level in backbone(torch.rand(1, 3, 224, 320))]
        [(1, 96, 56, 80), (1, 192, 28, 40), (1, 384, 14, 20), (1, 768, 7, 10)]
    """

    ranking: type[WindowRanking] = WindowRanking
    """What ranks the windows of a stage."""

    def __init__(self, arch: str = 'tiny', *, pruning_ratios: Any = 0.0, **swin: Any) -> None:
        super().__init__(arch, **swin)
        self.window_observer: Callable[[WindowSelection], None] | None = None
        self.pruning_schedule = pruning_ratios

    @property
    def pruning_schedule(self) -> PruningSchedule:
        """Which share of its windows every block skips; assign any form `pruning_ratios` takes."""
        return self._pruning_schedule

    @pruning_schedule.setter
    def pruning_schedule(self, ratios: Any) -> None:
        self._pruning_schedule = PruningSchedule.parse(ratios, self.arch.depths)

    def compute_stage(
        self, stage: SwinStage, tokens: Tensor, batch_size: int, height: int, width: int
    ) -> Tensor:
        """Computes the windows that the stage's ratios leave, see `SwinBackbone.compute_stage`."""
        # Whoever makes a graph cuts the work into parts by itself.
        as_graph = in_graph()
        # Stochastic depth needs the windows of an image together, even without gradients.
        whole_blocks = torch.is_grad_enabled() or self.training
        by_kernels = run_kernels(tokens) and not self.training
        ranking = self.ranking(batch_size)
        located: dict[tuple[int, float], WindowTokens] = {}
        ratios = self.pruning_schedule.ratios[stage.number]
        for number, (block, ratio) in enumerate(zip(stage.blocks, ratios)):
            assert isinstance(block, SwinBlock)
            grid = WindowGrid(height, width, self.arch.window_size, block.shift)
            kept = ranking.keep(tokens, grid, ratio)
            skipped = self.skipped_tokens(tokens)
            if by_kernels:
                at_once = None if as_graph else _windows_at_once(block, tokens)
                tokens = block.update(skipped, tokens.contiguous(), grid, kept, at_once)
            else:
                if (block.shift, ratio) not in located:
                    where = locate_windows(grid, batch_size, kept, tokens.device)
                    located[block.shift, ratio] = where
                where = located[block.shift, ratio]
                if as_graph or (whole_blocks and skipped is not tokens):
                    windows = block(gather_windows(tokens, where), where)
                    tokens = scatter_windows(skipped, windows, where)
                elif whole_blocks:
                    update = WindowUpdate(where, is_last=number == len(ratios) - 1)
                    windows = block(update.gather(tokens), where)
                    tokens = update.scatter(tokens, windows)
                else:
                    at_once = _windows_at_once(block, tokens)
                    tokens = update_windows(skipped, tokens, where, block, at_once)
            if self.window_observer is not None:
                self.window_observer(WindowSelection(stage.number, number, grid, kept))
        return tokens

    def skipped_tokens(self, tokens: Tensor) -> Tensor:
        """What a block leaves in the windows it skips, for all tokens: what was there before."""
        return tokens


def _windows_at_once(block: SwinBlock, tokens: Tensor) -> int:
    """How many windows a block computes at a time in inference."""
    hidden = block.window_size**2 * block.hidden_dims * tokens.element_size()
    return max(1, (_CPU_BYTES if tokens.device.type == 'cpu' else _OTHER_BYTES) // hidden)
