"""SparseViT: a Swin Transformer that skips the windows with little activation.

"SparseViT: Revisiting Activation Sparsity for Efficient High-Resolution Vision Transformer",
CVPR 2023, https://arxiv.org/abs/2303.17605.

The parameters are those of `swin`; everything here may change without breaking checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from sparsevit_mm.models.swin import SwinBackbone, SwinStage
from sparsevit_mm.ops.windows import WindowGrid, Windows, update_windows
from sparsevit_mm.pruning.importance import Importance, build_importance
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.pruning.selection import WindowRanking, WindowSelection
from sparsevit_mm.registry import MODELS


@MODELS.register_module()
class SparseViT(SwinBackbone):
    """Swin Transformer with window activation pruning.

    At ratio 0 it is exactly Swin. With a schedule, every block computes LN, attention and FFN only
    on the most important windows and copies the others; merging and output norms are dense.

    Args:
        arch: 'tiny', 'small', 'base' or 'large'; `embed_dims`, `depths`, `num_heads` and `width`
            replace its numbers.
        pruning_ratios: The pruning schedule: a number; one number a stage; or a list a stage of 1,
            ceil(depth / 2) or depth numbers. It can be set any time, also as `pruning_schedule`.
        importance: What windows are ranked by: 'l2', the L2 norm of the activation as in the paper;
            'contrast', the deviation of a window's tokens from their mean, which finds objects on
            plain ground; 'peak', the largest such deviation; 'random'; or a dict whose `type` is
            one of one's own in `pruning.importance.IMPORTANCES`.
        **swin: Further arguments of `SwinBackbone`, which are MMDetection's, and `padding`.

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

    changeable_options = (*SwinBackbone.changeable_options, 'importance', 'pruning_ratios')

    def __init__(
        self,
        arch: str = 'tiny',
        *,
        pruning_ratios: Any = 0.0,
        importance: str | Mapping[str, Any] = 'l2',
        **swin: Any,
    ) -> None:
        super().__init__(arch, **swin)
        self.importance = importance
        self.window_observer: Callable[[WindowSelection], None] | None = None
        self.pruning_schedule = pruning_ratios

    @property
    def pruning_schedule(self) -> PruningSchedule:
        """Which share of its windows every block skips; assign any form `pruning_ratios` takes."""
        return self._pruning_schedule

    @pruning_schedule.setter
    def pruning_schedule(self, ratios: Any) -> None:
        self._pruning_schedule = PruningSchedule.parse(ratios, self.arch.depths)

    @property
    def pruning_ratios(self) -> PruningSchedule:
        """The same as `pruning_schedule`, under the name of the constructor's argument."""
        return self._pruning_schedule

    @pruning_ratios.setter
    def pruning_ratios(self, ratios: Any) -> None:
        self.pruning_schedule = ratios

    @property
    def importance(self) -> Importance:
        """What ranks the windows; assign any form the argument takes."""
        return self._importance

    @importance.setter
    def importance(self, importance: str | Mapping[str, Any] | Importance) -> None:
        self._importance = build_importance(importance)

    def compute_stage(
        self, stage: SwinStage, tokens: Tensor, batch_size: int, height: int, width: int
    ) -> Tensor:
        """Computes the windows that the stage's ratios leave, see `SwinBackbone.compute_stage`."""
        ranking = WindowRanking(self._importance, batch_size)
        ratios = self._pruning_schedule.ratios[stage.number]
        for index, (block, ratio) in enumerate(zip(stage.blocks, ratios)):
            grid = WindowGrid(height, width, self.arch.window_size, block.shift)
            kept = ranking.select(tokens, grid, ratio)
            windows = Windows.locate(grid, batch_size, kept, tokens.device)
            tokens = update_windows(tokens, tokens, windows, block)
            if self.window_observer is not None:
                self.window_observer(WindowSelection(stage.number, index, windows))
        return tokens
