"""Which windows stay: one ranking a stage and grid, of which every block takes the first part.

Because later blocks take fewer windows of the same ranking, the kept sets are nested (SparseViT,
window activation pruning: one ranking serves the whole stage).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sparsevit_mm.ops.windows import WindowGrid, Windows, index_maps
from sparsevit_mm.pruning.allocation import Allocation
from sparsevit_mm.pruning.importance import Importance


def num_kept_windows(num_windows: int, ratio: float) -> int:
    """Number of windows that are kept (SparseViT, window activation pruning).

    Args:
        num_windows: Number of windows in the grid, at least 1.
        ratio: Pruning ratio, 0 <= ratio < 1.

    Returns:
        `int(num_windows * (1 - ratio))`, but at least 1. The expression is that of the authors,
        including its rounding: 100 windows at 0.8 keep 19.
    """
    return max(int(num_windows * (1 - ratio)), 1)


@dataclass(frozen=True)
class WindowSelection:
    """What one block computed in one forward; handed to a backbone's `window_observer`.

    Attributes:
        stage: Index of the stage.
        block: Index of the block in its stage.
        windows: The windows it computed; its `kept` indices have the most important first in every
            image.
        importance: Name of what ranked them; None if it has none.
    """

    stage: int
    block: int
    windows: Windows
    importance: str | None = None

    @property
    def grid(self) -> WindowGrid:
        """The block's windows."""
        return self.windows.grid

    @property
    def num_kept(self) -> int:
        """Windows kept in an image; the mean where images share a budget."""
        return self.windows.num_windows // self.windows.batch_size

    @property
    def shares(self) -> Tensor:
        """(B,) share of its windows that every image kept."""
        counts = torch.zeros(self.windows.batch_size, device=self.windows.device)
        counts.index_add_(0, self.windows.image_index, counts.new_ones(self.windows.num_windows))
        return counts / self.grid.num_windows

    def num_kept_in(self, image: int) -> int:
        """Windows that an image kept, by its index in the batch."""
        kept = self.kept_in(image)
        return self.grid.num_windows if kept is None else len(kept)

    def kept_in(self, image: int) -> Tensor | None:
        """Which windows an image kept.

        Args:
            image: Index of the image in the batch.

        Returns:
            (K,) int64 indices, row by row over the grid, most important first; None if the block
            kept all.
        """
        kept, num_windows = self.windows.kept, self.grid.num_windows
        return None if kept is None else kept[kept // num_windows == image] % num_windows

    def computed_tokens(self, image: int) -> Tensor:
        """Which tokens of an image the block computed.

        Args:
            image: Index of the image in the batch.

        Returns:
            (H, W) bool on the CPU.
        """
        grid, cpu = self.grid, torch.device('cpu')
        kept = self.kept_in(image)
        if kept is None:
            return torch.ones(grid.height, grid.width, dtype=torch.bool)
        window_is_kept = torch.zeros(grid.num_windows, dtype=torch.bool)
        window_is_kept[kept.cpu()] = True
        per_window_token = window_is_kept.repeat_interleave(grid.window_size**2)
        return per_window_token[index_maps(grid, cpu).inverse_index].view(grid.height, grid.width)


@dataclass
class WindowRanking:
    """Ranks the windows of one stage for one forward.

    The token map is scored once, at the first block that prunes; the plain and the shifted grid
    each rank their own windows from it, once.

    Attributes:
        importance: What it ranks by.
        batch_size: Images B in the batch.
        allocation: Which images share a budget.
    """

    importance: Importance
    batch_size: int
    allocation: Allocation = field(default_factory=Allocation)
    _summary: Tensor | None = None
    _order: dict[int, Tensor] = field(default_factory=dict)  # by shift: a stage has one map
    _kept: dict[tuple[int, float], Tensor] = field(default_factory=dict)  # by shift and ratio

    def select(self, tokens: Tensor, grid: WindowGrid, ratio: float) -> Tensor | None:
        """The windows that a block keeps.

        Args:
            tokens: (>= B * grid.map_tokens, C) the stage's tokens as they are before the block.
            grid: The block's windows over the H x W map.
            ratio: The block's pruning ratio.

        Returns:
            (W,) int64 indices over the whole batch, image * grid.num_windows + window: image by
            image, or group by group where images share a budget, most important first; None if no
            window is skipped.
        """
        if ratio == 0:
            return None
        if (grid.shift, ratio) not in self._kept:
            num_kept = num_kept_windows(grid.num_windows, ratio)
            if grid.shift not in self._order:
                with torch.no_grad():
                    if self._summary is None:
                        num_tokens = self.batch_size * grid.map_tokens
                        self._summary = self.importance.summarize(tokens[:num_tokens])
                    scores = self.importance.score(self._summary, grid, self.batch_size)
                    order = self.allocation.rank(scores, num_kept, self.importance.is_comparable)
                    self._order[grid.shift] = order
            num_kept *= self.allocation.group_in(self.batch_size)
            first = self._order[grid.shift][:, :num_kept]
            self._kept[grid.shift, ratio] = first.flatten().contiguous()  # as kernels read it
        return self._kept[grid.shift, ratio]
