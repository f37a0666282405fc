"""SparseViT with one of its choices undone, for the comparisons that the paper argues with.

The parameters are those of `swin`; everything here may change without breaking checkpoints.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.sparsevit import SparseViT
from sparsevit_mm.models.swin import SwinBlock, SwinStage
from sparsevit_mm.ops.window_grid import WindowGrid
from sparsevit_mm.ops.windows import (
    WindowTokens,
    gather_windows,
    locate_windows,
    scatter_windows,
)
from sparsevit_mm.pruning.importance import token_importance
from sparsevit_mm.pruning.schedule import num_kept_windows
from sparsevit_mm.pruning.selection import WindowRanking
from sparsevit_mm.registry import MODELS


class RandomRanking(WindowRanking):
    """Ranks windows at random, anew for every image, grid and forward."""

    def scores(self, tokens: Tensor, grid: WindowGrid) -> Tensor:
        """Uniform scores, see `WindowRanking.scores`."""
        return torch.rand(self.batch_size, grid.num_windows, device=tokens.device)


RANKINGS = {'l2': WindowRanking, 'random': RandomRanking}
SKIPPED = ('copied', 'zeroed')
GRANULARITIES = ('windows', 'tokens')


@MODELS.register_module()
class AblatedSparseViT(SparseViT):
    """SparseViT that ranks windows otherwise, skips tokens, or zeroes what it skips.

    Skipped tokens lie in all windows, so everything is computed and then masked: that tells what
    skipping them does to accuracy, and saves no time. `window_observer` is not called for them.

    Args:
        arch: As in `SparseViT`.
        importance: 'l2', the L2 norm of a window's activation as in the paper (of tokens: the
            activation itself), or 'random'.
        skipped: 'copied', what is skipped keeps its tokens as in the paper, or 'zeroed'.
        granularity: 'windows', as in the paper, or 'tokens': of all tokens of an image those of
            largest activation stay, as large a share as of windows, and attend to each other inside
            their window; ranked once a stage, for both grids.
        **sparsevit: Further arguments of `SparseViT`.

    Raises:
        ConfigError: If an argument is outside what is allowed.
    """

    def __init__(
        self,
        arch: str = 'tiny',
        *,
        importance: str = 'l2',
        skipped: str = 'copied',
        granularity: str = 'windows',
        **sparsevit: Any,
    ) -> None:
        super().__init__(arch, **sparsevit)
        if importance not in RANKINGS:
            raise ConfigError(f"importance is {importance!r}, but it must be 'l2' or 'random'.")
        if skipped not in SKIPPED:
            raise ConfigError(f"skipped is {skipped!r}, but it must be 'copied' or 'zeroed'.")
        if granularity not in GRANULARITIES:
            raise ConfigError(
                f"granularity is {granularity!r}, but it must be 'windows' or 'tokens'."
            )
        self.importance = importance
        self.ranking = RANKINGS[importance]
        self.zeroes_skipped = skipped == 'zeroed'
        self.skips_tokens = granularity == 'tokens'

    def skipped_tokens(self, tokens: Tensor) -> Tensor:
        """Zeros or the tokens themselves, see `SparseViT.skipped_tokens`."""
        return torch.zeros_like(tokens) if self.zeroes_skipped else tokens

    def compute_stage(
        self, stage: SwinStage, tokens: Tensor, batch_size: int, height: int, width: int
    ) -> Tensor:
        """Computes what the stage's ratios leave, see `SwinBackbone.compute_stage`."""
        if not self.skips_tokens:
            return super().compute_stage(stage, tokens, batch_size, height, width)
        order: Tensor | None = None
        ratios = self.pruning_schedule.ratios[stage.number]
        for block, ratio in zip(stage.blocks, ratios):
            assert isinstance(block, SwinBlock)
            grid = WindowGrid(height, width, self.arch.window_size, block.shift)
            where = locate_windows(grid, batch_size, None, tokens.device)
            if ratio == 0:
                tokens = scatter_windows(tokens, block(gather_windows(tokens, where), where), where)
                continue
            if order is None:
                order = self._rank_tokens(tokens, batch_size)
            kept = _largest(order, num_kept_windows(height * width, ratio))
            where = replace(where, hidden=_hidden(kept, where))
            computed = block(gather_windows(tokens, where), where)
            computed = scatter_windows(tokens, computed, where)
            tokens = torch.where(kept[:, None], computed, self.skipped_tokens(tokens))
        return tokens

    @torch.no_grad()
    def _rank_tokens(self, tokens: Tensor, batch_size: int) -> Tensor:
        """(B, H * W) numbers of the tokens of every image, those that matter most first."""
        scores = token_importance(tokens)
        if self.importance == 'random':
            scores = torch.rand_like(scores)
        return scores.view(batch_size, -1).argsort(dim=1, descending=True, stable=True)


def _largest(order: Tensor, num_kept: int) -> Tensor:
    """(B * H * W,) bool: which tokens are among the first of their image."""
    kept = torch.zeros(order.shape, dtype=torch.bool, device=order.device)
    return kept.scatter_(1, order[:, :num_kept], True).flatten()


def _hidden(kept: Tensor, where: WindowTokens) -> Tensor:
    """(W, N) bool: which tokens of each window attention must not see."""
    hidden = ~kept[where.rows].view(where.shape)
    if where.padding is not None:
        hidden = hidden & ~where.padding.squeeze(-1)  # seen as in Swin
    # Nothing of such a window is used, but a softmax over no key would spoil gradients.
    return hidden & ~hidden.all(dim=1, keepdim=True)
