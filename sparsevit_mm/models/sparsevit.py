"""SparseViT: a Swin Transformer that skips the windows with little activation.

"SparseViT: Revisiting Activation Sparsity for Efficient High-Resolution Vision Transformer",
CVPR 2023, https://arxiv.org/abs/2303.17605.

The parameters are those of `swin`; everything here may change without breaking checkpoints.
"""

from __future__ import annotations

from torch import Tensor

from sparsevit_mm.models.swin import SwinBackbone, SwinStage
from sparsevit_mm.ops.windows import WindowGrid, Windows, update_windows
from sparsevit_mm.registry import MODELS


@MODELS.register_module()
class SparseViT(SwinBackbone):
    """Swin Transformer with window activation pruning.

    At ratio 0 it is exactly Swin. With a schedule, every block computes LN, attention and FFN only
    on the most important windows and copies the others; merging and output norms are dense.

    Args:
        arch: 'tiny', 'small', 'base' or 'large'; `embed_dims`, `depths`, `num_heads` and `width`
            replace its numbers.
        **swin: Further arguments of `SwinBackbone`, `pruning_ratios`, `importance` and `allocation`
            among them; the others are MMDetection's, and `padding`.

    Attributes:
        arch: The sizes, a `SwinArch`.
        window_observer: Called with a `WindowSelection` after every block if set; for images and
            logs.

    Raises:
        ConfigError: If an argument is outside what is allowed.

    Examples:
        >>> backbone = SparseViT(arch='tiny', pruning_ratios=[[.6], [0.], [.2, .4, .5], [0.]])
        >>> [tuple(level.shape) for level in backbone(torch.rand(1, 3, 224, 320))]
        [(1, 96, 56, 80), (1, 192, 28, 40), (1, 384, 14, 20), (1, 768, 7, 10)]
    """

    def compute_stage(
        self, stage: SwinStage, tokens: Tensor, batch_size: int, height: int, width: int
    ) -> Tensor:
        """Computes the windows that the stage's ratios leave, see `SwinBackbone.compute_stage`."""
        ranking = self.new_ranking(batch_size)
        ratios = self.pruning_schedule.ratios[stage.number]
        for index, (block, ratio) in enumerate(zip(stage.blocks, ratios)):
            grid = WindowGrid(height, width, self.arch.window_size, block.shift)
            kept = ranking.select(tokens, grid, ratio)
            windows = Windows.locate(grid, batch_size, kept, tokens.device)
            tokens = update_windows(tokens, tokens, windows, block)
            self.observe(stage.number, index, windows)
        return tokens
