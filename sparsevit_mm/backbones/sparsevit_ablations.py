"""SparseViT with one of its choices undone, for the comparisons that the paper argues with.

The parameters are those of `swin`; everything here may change without breaking checkpoints.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sparsevit_mm.backbones.sparsevit import SparseViT
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.layers.window_grid import WindowGrid
from sparsevit_mm.pruning.selection import WindowRanking
from sparsevit_mm.registry import register_backbone


class RandomRanking(WindowRanking):
    """Ranks windows at random, anew for every image, grid and forward."""

    def scores(self, tokens: Tensor, grid: WindowGrid) -> Tensor:
        """Uniform scores, see `WindowRanking.scores`."""
        return torch.rand(self.batch_size, grid.num_windows, device=tokens.device)


RANKINGS = {'l2': WindowRanking, 'random': RandomRanking}
SKIPPED = ('copied', 'zeroed')


@register_backbone
class AblatedSparseViT(SparseViT):
    """SparseViT that ranks windows otherwise, or leaves something else in those it skips.

    Args:
        arch: As in `SparseViT`.
        importance: 'l2', the L2 norm of a window's activation as in the paper, or 'random'.
        skipped: 'copied', skipped windows keep their tokens as in the paper, or 'zeroed'.
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
        **sparsevit: Any,
    ) -> None:
        super().__init__(arch, **sparsevit)
        if importance not in RANKINGS:
            raise ConfigError(f"importance is {importance!r}, but it must be 'l2' or 'random'.")
        if skipped not in SKIPPED:
            raise ConfigError(f"skipped is {skipped!r}, but it must be 'copied' or 'zeroed'.")
        self.ranking = RANKINGS[importance]
        self.zeroes_skipped = skipped == 'zeroed'

    def skipped_tokens(self, tokens: Tensor) -> Tensor:
        """Zeros or the tokens themselves, see `SparseViT.skipped_tokens`."""
        return torch.zeros_like(tokens) if self.zeroes_skipped else tokens
