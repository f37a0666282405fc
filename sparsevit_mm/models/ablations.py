"""SparseViT with one of its choices undone, for the comparisons that the paper argues with.

The parameters are those of `swin`; everything here may change without breaking checkpoints.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.sparsevit import SparseViT
from sparsevit_mm.models.swin import SwinBlock, SwinStage
from sparsevit_mm.ops.attention import Masks, edge_masks, key_mask
from sparsevit_mm.ops.windows import MapWindows, WindowGrid, Windows, update_windows
from sparsevit_mm.pruning.allocation import Allocation
from sparsevit_mm.pruning.importance import RandomImportance, token_importance
from sparsevit_mm.pruning.selection import num_kept_windows
from sparsevit_mm.registry import MODELS

SKIPPED = ('copied', 'zeroed')
GRANULARITIES = ('windows', 'tokens')
TOKEN_IMPORTANCES = ('l2', 'random')


@MODELS.register_module()
class AblatedSparseViT(SparseViT):
    """SparseViT that ranks windows otherwise, skips tokens, or zeroes what it skips.

    Skipped tokens lie in all windows, so everything is computed and then masked: that tells what
    skipping them does to accuracy, and saves no time. `window_observer` is not called for them.

    Args:
        arch: As in `SparseViT`.
        importance: As in `SparseViT`; with tokens 'l2', the mean magnitude of a token, or 'random'.
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
        super().__init__(arch, importance=importance, **sparsevit)
        if skipped not in SKIPPED:
            raise ConfigError(f"skipped is {skipped!r}, but must be 'copied' or 'zeroed'.")
        if granularity not in GRANULARITIES:
            raise ConfigError(f"granularity is {granularity!r}, but must be 'windows' or 'tokens'.")
        if granularity == 'tokens' and importance not in TOKEN_IMPORTANCES:
            raise ConfigError(
                f"importance is {importance!r}, but must be 'l2' or 'random' to skip tokens."
            )
        if granularity == 'tokens' and self.allocation != Allocation():
            own = self.allocation.to_config()
            raise ConfigError(f"allocation is {own!r}, but must be 'image' to skip tokens.")
        self.zeroes_skipped = skipped == 'zeroed'
        self.skips_tokens = granularity == 'tokens'

    def compute_stage(
        self, stage: SwinStage, tokens: Tensor, batch_size: int, height: int, width: int
    ) -> Tensor:
        """Computes what the stage's ratios leave, see `SwinBackbone.compute_stage`."""
        if not (self.skips_tokens or self.zeroes_skipped):
            return super().compute_stage(stage, tokens, batch_size, height, width)
        ranking, order = self.new_ranking(batch_size), None
        for index, block in enumerate(stage.blocks):
            ratio = self.pruning_schedule.ratios[stage.number][index]
            grid = WindowGrid(height, width, self.arch.window_size, block.shift)
            base = torch.zeros_like(tokens) if self.zeroes_skipped else tokens
            if ratio == 0 or not self.skips_tokens:
                kept = ranking.select(tokens, grid, ratio)
                windows = Windows.locate(grid, batch_size, kept, tokens.device)
                tokens = update_windows(base, tokens, windows, block)
                if not self.skips_tokens:
                    self.observe(stage.number, index, windows)
                continue
            if order is None:
                order = self._rank_tokens(tokens, batch_size)
            seen = _largest(order, num_kept_windows(height * width, ratio))
            windows = Windows.locate(grid, batch_size, None, tokens.device)
            computed = update_windows(tokens.clone(), tokens, windows, _AmongTokens(block, seen))
            tokens = torch.where(seen[:, None], computed, base)
        return tokens

    @torch.no_grad()
    def _rank_tokens(self, tokens: Tensor, batch_size: int) -> Tensor:
        """(B, H * W) indices of the tokens of every image, those that matter most first."""
        scores = token_importance(tokens)
        if isinstance(self.importance, RandomImportance):
            scores = torch.rand_like(scores)
        return scores.view(batch_size, -1).argsort(dim=1, descending=True, stable=True)


class _AmongTokens:
    """A block in which tokens see only the kept tokens of their window.

    Args:
        block: The block.
        kept: (B * H * W,) bool.
    """

    def __init__(self, block: SwinBlock, kept: Tensor) -> None:
        self.block = block
        self.kept = kept
        self.hidden_dims = block.hidden_dims
        self.training = block.training

    def __call__(self, own: Tensor | MapWindows, windows: Windows) -> tuple[Tensor, Tensor]:
        """Computes windows, see `WindowBlock`."""
        hidden = ~self.kept[windows.maps.rows].view(windows.num_windows, windows.num_tokens)
        padding = windows.maps.padding
        if padding is not None:
            hidden = hidden & ~padding.squeeze(-1)  # seen as in Swin
        # Nothing of such a window is used, but a softmax over no key would spoil gradients.
        hidden = hidden & ~hidden.all(dim=1, keepdim=True)
        values = key_mask(hidden, torch.float32)
        edges = edge_masks(windows)
        if edges is not None and edges.ids is not None:
            values = values + edges.values.index_select(0, edges.ids)
        # Mask 0, which is not read, is nobody's.
        ids = torch.arange(1, len(hidden) + 1, device=hidden.device)
        masks = Masks(F.pad(values, (0, 0, 0, 0, 1, 0)), ids)
        result: tuple[Tensor, Tensor] = self.block(own, windows, masks=masks)
        return result


def _largest(order: Tensor, num_kept: int) -> Tensor:
    """(B * H * W,) bool: which tokens are among the first of their image."""
    kept = torch.zeros(order.shape, dtype=torch.bool, device=order.device)
    return kept.scatter_(1, order[:, :num_kept], True).flatten()
