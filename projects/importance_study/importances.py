"""Importances on trial, each swapped in at test time, see `TRIALS` in plan.py."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from sparsevit_mm.ops.windows import WindowGrid, Windows, update_windows
from sparsevit_mm.pruning.importance import (
    IMPORTANCES,
    ContrastImportance,
    Importance,
    L2Importance,
    build_importance,
    token_importance,
    window_scores,
)
from sparsevit_mm.pruning.prunable import find_prunable_backbone


@IMPORTANCES.register_module(name='image')
class ImageDeviationImportance(Importance):
    """The L2 norm of the deviations of a window's tokens from the mean token of the image."""

    def summarize(self, tokens: Tensor) -> Tensor:
        """The tokens, see `Importance`."""
        return tokens.clone()

    def score(self, summary: Tensor, grid: WindowGrid, batch_size: int) -> Tensor:
        """L2 norms, see `Importance`."""
        images = summary.view(batch_size, -1, summary.shape[-1])
        return window_scores(token_importance(images - images.mean(1, keepdim=True)), grid)


@IMPORTANCES.register_module(name='l2-norm')
class NormedL2Importance(L2Importance):
    """'l2' of the tokens after a norm."""

    def summarize(self, tokens: Tensor) -> Tensor:
        """Mean magnitudes, see `Importance`."""
        return super().summarize(_normalized(tokens))


@IMPORTANCES.register_module(name='contrast-norm')
class NormedContrastImportance(ContrastImportance):
    """'contrast' of the tokens after a norm."""

    def summarize(self, tokens: Tensor) -> Tensor:
        """Normalized tokens, see `Importance`."""
        return super().summarize(_normalized(tokens))


@IMPORTANCES.register_module(name='by-stage')
class ImportanceByStage(Importance):
    """One importance for the early stages, another for the late ones.

    Args:
        early: Importance of stages with few channels.
        late: Importance of the others.
        most_channels: Channels of the last early stage.
    """

    def __init__(self, early: str = 'contrast', late: str = 'l2', most_channels: int = 64) -> None:
        self.early, self.late = build_importance(early), build_importance(late)
        self.most_channels = most_channels
        self._current = self.early

    def summarize(self, tokens: Tensor) -> Tensor:
        """That of the stage's importance, see `Importance`."""
        self._current = self.early if tokens.shape[-1] <= self.most_channels else self.late
        return self._current.summarize(tokens)

    def score(self, summary: Tensor, grid: WindowGrid, batch_size: int) -> Tensor:
        """That of the stage's importance, see `Importance`."""
        return self._current.score(summary, grid, batch_size)


@IMPORTANCES.register_module(name='change')
class ChangeImportance(Importance):
    """How much the stage's blocks would change a window's tokens: what skipping them loses.

    It computes the blocks, so it saves nothing: it shows what a ranking could reach.
    `OracleHook` tells it the backbone.
    """

    backbone: Any = None

    def summarize(self, tokens: Tensor) -> Tensor:
        """The tokens, see `Importance`."""
        return tokens.clone()

    def score(self, summary: Tensor, grid: WindowGrid, batch_size: int) -> Tensor:
        """L2 norms of the tokens' mean changes, see `Importance`."""
        number = self.backbone.arch.stage_dims.index(summary.shape[-1])
        tokens = summary.clone()
        for block in self.backbone.stages[number].blocks:
            own = WindowGrid(grid.height, grid.width, grid.window_size, block.shift)
            windows = Windows.locate(own, batch_size, None, tokens.device)
            tokens = update_windows(tokens, tokens, windows, block)
        return window_scores(token_importance(tokens - summary).view(batch_size, -1), grid)


@HOOKS.register_module()
class OracleHook(Hook):
    """Shows a `ChangeImportance` its backbone before a test; leaves others alone."""

    def before_test(self, runner: Runner) -> None:
        """Hands over the backbone."""
        backbone: Any = find_prunable_backbone(runner.model)
        if isinstance(backbone.importance, ChangeImportance):
            backbone.importance.backbone = backbone


def _normalized(tokens: Tensor) -> Tensor:
    """(..., C) tokens with mean 0 and variance 1 over channels, as after a norm without weights."""
    return F.layer_norm(tokens.float(), tokens.shape[-1:])
