"""Feature map <-> windows: which tokens every window of a (shifted, padded) grid holds.

Swin pads the map on the right and bottom to a multiple of the window, rolls it up and left by the
shift, and cuts it into windows. None of that moves data here: a grid is three integers and a
shift, and its index maps say where in the unpadded map each window's tokens lie. They are plain
functions of the grid, so they are computed once for a grid and device.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsevit_mm.layers.exporting import cached_by_grid, is_symbolic

NUM_EDGE_PATTERNS = 4


@dataclass(frozen=True)
class WindowGrid:
    """The windows over one feature map.

    Attributes:
        height: Height of the map in tokens.
        width: Width of the map in tokens.
        window_size: Side of a window in tokens.
        shift: Cyclic shift of the grid in tokens, 0 for the plain one.
    """

    height: int
    width: int
    window_size: int
    shift: int = 0

    @property
    def rows(self) -> int:
        """Windows from top to bottom."""
        return (self.height + self.window_size - 1) // self.window_size

    @property
    def cols(self) -> int:
        """Windows from left to right."""
        return (self.width + self.window_size - 1) // self.window_size

    @property
    def num_windows(self) -> int:
        """Windows in the grid."""
        return self.rows * self.cols

    @property
    def is_padded(self) -> bool:
        """Whether the last row or column of windows reaches beyond the map, or may do so."""
        if is_symbolic(self.height, self.width):
            return True
        return self.num_windows * self.window_size**2 != self.height * self.width

    def token_index(self, device: torch.device) -> Tensor:
        """Where the tokens of every window lie in the flattened map.

        Returns:
            (num_windows, window_size**2) int64; a padding token names token 0, see `padding`.
        """
        return _index_maps(self, device)[0]

    def padding(self, device: torch.device) -> Tensor | None:
        """Which tokens of every window are padding.

        Returns:
            (num_windows, window_size**2) bool, or None if no token is.
        """
        return _index_maps(self, device)[1] if self.is_padded else None

    def window_position(self, device: torch.device) -> Tensor:
        """The inverse of `token_index`: where every token lies in the flattened windows.

        Returns:
            (height * width,) int64 positions in num_windows * window_size**2.
        """
        return _index_maps(self, device)[2]

    def edge_pattern(self, device: torch.device) -> Tensor | None:
        """Which of the `edge_masks` every window needs.

        A shifted window in the last row or column joins tokens from opposite sides of the map,
        which must not see each other.

        Returns:
            (num_windows,) int64: 0 inside, +1 in the last row, +2 in the last column; None without
            a shift.
        """
        return _index_maps(self, device)[3] if self.shift else None


def edge_masks(window_size: int, shift: int, device: torch.device) -> Tensor:
    """Attention masks of the four kinds of shifted windows (Swin).

    Args:
        window_size: Side of a window in tokens.
        shift: Cyclic shift in tokens, at least 1.
        device: Where the masks are wanted.

    Returns:
        (4, window_size**2, window_size**2) float32, Swin's -100 where two tokens must not see each
        other, 0 elsewhere; numbered as `WindowGrid.edge_pattern`.
    """
    return _edge_masks(window_size, shift, device)


@cached_by_grid(maxsize=128)
def _index_maps(grid: WindowGrid, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    size = grid.window_size
    # Row r of the rolled, padded map was row (r + shift) mod rows of the padded one.
    row = (torch.arange(grid.rows * size, device=device) + grid.shift) % (grid.rows * size)
    col = (torch.arange(grid.cols * size, device=device) + grid.shift) % (grid.cols * size)
    index = row[:, None] * grid.width + col[None, :]
    padding = (row >= grid.height)[:, None] | (col >= grid.width)[None, :]

    def windows(full_map: Tensor) -> Tensor:
        split = full_map.view(grid.rows, size, grid.cols, size)
        return split.transpose(1, 2).reshape(grid.num_windows, size * size)

    index, padding = windows(index), windows(padding)
    index = index.masked_fill(padding, 0)
    real = ~padding.flatten()
    position = torch.empty(grid.height * grid.width, dtype=torch.int64, device=device)
    position[index.flatten()[real]] = torch.arange(real.numel(), device=device)[real]
    last_row = torch.arange(grid.rows, device=device) == grid.rows - 1
    last_col = torch.arange(grid.cols, device=device) == grid.cols - 1
    pattern = (last_row.long()[:, None] + 2 * last_col.long()[None, :]).flatten()
    return index, padding, position, pattern


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)
def _edge_masks(window_size: int, shift: int, device: torch.device) -> Tensor:
    wrapped = torch.arange(window_size, device=device) >= window_size - shift
    rows = wrapped[:, None].expand(window_size, window_size).flatten()
    cols = wrapped[None, :].expand(window_size, window_size).flatten()
    # Exclusive or is inequality that torch's compiler knows for truth values on every device.
    across_rows = rows[:, None] ^ rows[None, :]
    across_cols = cols[:, None] ^ cols[None, :]
    apart = torch.stack(
        [torch.zeros_like(across_rows), across_rows, across_cols, across_rows | across_cols]
    )
    return torch.zeros(apart.shape, device=device).masked_fill(apart, -100.0)
