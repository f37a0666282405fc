"""Which windows stay: one ranking a stage and grid, of which every block takes a prefix.

Because later blocks take a shorter prefix of the same ranking, the kept sets are nested
(SparseViT, window activation pruning: the ranking is amortised over the stage).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsevit_mm.ops.compat import is_exporting
from sparsevit_mm.ops.window_grid import WindowGrid
from sparsevit_mm.pruning.importance import token_importance, window_scores
from sparsevit_mm.pruning.schedule import num_kept_windows


@dataclass(frozen=True)
class WindowSelection:
    """What one block computed in one forward; handed to a backbone's `window_observer`.

    Attributes:
        stage: Number of the stage.
        block: Number of the block in its stage.
        grid: The block's windows.
        kept: (B, K) numbers of the kept windows, row-major over the grid, most important first;
            None if the block kept all.
    """

    stage: int
    block: int
    grid: WindowGrid
    kept: Tensor | None

    @property
    def num_kept(self) -> int:
        """Windows kept in each image."""
        return self.grid.num_windows if self.kept is None else self.kept.shape[1]


class WindowRanking:
    """Ranks the windows of one stage for one forward.

    The token map is scored once, at the first block that prunes; the plain and the shifted grid
    each rank their own windows from it, once.

    Args:
        batch_size: Images in the batch.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self._importance: Tensor | None = None
        self._order: dict[int, Tensor] = {}  # by shift: the map of a stage has one size

    def keep(self, tokens: Tensor, grid: WindowGrid, ratio: float) -> Tensor | None:
        """The windows a block keeps.

        Args:
            tokens: (>= B * H * W, C) the stage's tokens as they are before the block.
            grid: The block's windows over the H x W map.
            ratio: The block's pruning ratio.

        Returns:
            (B, K) window numbers, most important first, or None if no window is pruned.
        """
        if ratio == 0:
            return None
        num_kept = num_kept_windows(grid.num_windows, ratio)
        if grid.shift not in self._order:
            with torch.no_grad():
                scores = self.scores(tokens, grid)
            if is_exporting():
                # Later blocks keep no more, and runtimes know no stable sort; of equal scores, the
                # TopK of ONNX takes the window with the lower number, as a stable sort does.
                self._order[grid.shift] = scores.topk(num_kept, dim=1).indices
            else:
                # A stable sort makes ties, such as two black windows, independent of the batch.
                self._order[grid.shift] = scores.argsort(dim=1, descending=True, stable=True)
        return self._order[grid.shift][:, :num_kept]

    def scores(self, tokens: Tensor, grid: WindowGrid) -> Tensor:
        """What the windows of a grid are ranked by, from the tokens of the first call.

        Args:
            tokens: As in `keep`.
            grid: The windows.

        Returns:
            (B, windows), larger for windows that matter more.
        """
        if self._importance is None:
            num_tokens = self.batch_size * grid.height * grid.width
            importance = token_importance(tokens[:num_tokens])
            self._importance = importance.view(self.batch_size, -1)
        return window_scores(self._importance, grid)
