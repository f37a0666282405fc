"""What kernels have in common: the windows they work on, and the arguments that say which."""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
from torch import Tensor

from sparsevit_mm.ops.window_grid import WindowGrid
from sparsevit_mm.ops.windows import WindowTokens, locate_windows


class ChosenWindows(NamedTuple):
    """The windows of a map that a kernel works on, B images in a batch.

    Attributes:
        grid: The windows.
        kept: (B, K) int64 numbers of the windows kept in each image; None for all.
        first: First window of these to work on, counted over all images.
        num_windows: How many to work on.
    """

    grid: WindowGrid
    kept: Tensor | None
    first: int
    num_windows: int

    def arguments(self) -> tuple[Tensor | None, list[int]]:
        """Arguments `kept` and `windows` of an operator; the schema of the latter is SymInt[6]."""
        grid = self.grid
        sides = [grid.height, grid.width, grid.window_size, grid.shift]
        return self.kept, [*sides, self.first, self.num_windows]

    def located(self, tokens: Tensor) -> WindowTokens:
        """The same windows as the layers name them, for references.

        Args:
            tokens: (B * H * W, C) the map.
        """
        batch_size = tokens.shape[0] // (self.grid.height * self.grid.width)
        where = locate_windows(self.grid, batch_size, self.kept, tokens.device)
        return where.choose(slice(self.first, self.first + self.num_windows))


def rows_arguments(kept: Tensor | None, windows: list[int]) -> dict[str, Any]:
    """Arguments of `device_functions.token_rows`, from those of an operator."""
    height, width, window, shift, first, count = windows
    num_windows = -(-height // window) * -(-width // window)
    return dict(
        num_items=count * window**2,
        kept=kept,
        kept_stride=0 if kept is None else kept.stride(0),
        per_image=num_windows if kept is None else kept.shape[1],
        first_window=first,
        height=height,
        width=width,
        HAS_KEPT=kept is not None,
        WINDOW=window,
        SHIFT=shift,
    )


def row_blocks(channels: int) -> dict[str, int]:
    """Tile of a kernel that works on rows of channels: about 4096 numbers, whole rows."""
    block = triton.next_power_of_2(channels)
    return dict(
        BLOCK_ROWS=max(1, min(64, 4096 // block)),
        BLOCK_CHANNELS=block,
        num_warps=4 if block <= 2048 else 8,
    )
