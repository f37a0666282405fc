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

from sparsevit_mm.ops.compat import is_dynamo_compiling
from sparsevit_mm.ops.exporting import cached_by_grid, is_certain

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
        return not is_certain(self.num_windows * self.window_size**2 == self.height * self.width)

    def token_index(self, device: torch.device) -> Tensor:
        """Where the tokens of every window lie in the flattened map.

        Returns:
            (num_windows, window_size**2) int64; a padding token names a real one of its window, see
            `padding` and `stand_in`.
        """
        return _index_maps(self, device)[0]

    def padding(self, device: torch.device) -> Tensor | None:
        """Which tokens of every window are padding.

        Returns:
            (num_windows, window_size**2) bool, or None if no token is.
        """
        return _index_maps(self, device)[1] if self.is_padded else None

    def stand_in(self, device: torch.device) -> Tensor | None:
        """The token of a window that is written to where `token_index` says, for every token.

        Returns:
            (num_windows, window_size**2) int64 numbers in the window: a token itself, and for
            padding a real token; None if there is no padding.
        """
        return _index_maps(self, device)[4] if self.is_padded else None

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
    make = _edge_masks.__wrapped__ if is_dynamo_compiling() else _edge_masks
    return make(window_size, shift, device)


@cached_by_grid(maxsize=128)
def _index_maps(grid: WindowGrid, device: torch.device) -> tuple[Tensor, ...]:
    size = grid.window_size
    # Row r of the rolled, padded map was row (r + shift) mod rows of the padded one.
    row = (torch.arange(grid.rows * size, device=device) + grid.shift) % (grid.rows * size)
    col = (torch.arange(grid.cols * size, device=device) + grid.shift) % (grid.cols * size)

    def windows(full_map: Tensor) -> Tensor:
        split = full_map.view(grid.rows, size, grid.cols, size)
        return split.transpose(1, 2).reshape(grid.num_windows, size * size)

    index = windows(row[:, None] * grid.width + col[None, :])
    padding = windows((row >= grid.height)[:, None] | (col >= grid.width)[None, :])
    own = torch.arange(size * size, device=device).expand(grid.num_windows, -1)
    first_real = padding.long().argmin(1, keepdim=True)
    stand_in = torch.where(padding, first_real, own)
    index = index.gather(1, stand_in)

    def place(number: int, lines: int) -> tuple[Tensor, Tensor]:
        rolled = torch.arange(number, device=device) - grid.shift
        # Not a remainder: Inductor loses its bounds, and its indexing fails on half of them.
        rolled = torch.where(rolled < 0, rolled + lines * size, rolled)
        return rolled // size, rolled % size

    (row, in_row), (col, in_col) = place(grid.height, grid.rows), place(grid.width, grid.cols)
    position = (row[:, None] * grid.cols + col[None, :]) * size**2
    position = position + in_row[:, None] * size + in_col[None, :]
    last_row = torch.arange(grid.rows, device=device) == grid.rows - 1
    last_col = torch.arange(grid.cols, device=device) == grid.cols - 1
    pattern = (last_row.long()[:, None] + 2 * last_col.long()[None, :]).flatten()
    return index, padding, position.flatten(), pattern, stand_in


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
