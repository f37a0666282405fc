"""What kernels have in common: the arguments that say which windows they work on, and tiles."""

from __future__ import annotations

from typing import Any

import triton
from torch import Tensor

from sparsevit_mm.ops.windows import Windows


def windows_arguments(windows: Windows) -> tuple[Tensor | None, list[int]]:
    """Arguments `kept` and `windows` of an operator; the schema of the latter is SymInt[5].

    Args:
        windows: The windows of a map that a kernel works on.

    Returns:
        Their indices over the batch, and height, width, window size, shift and number of windows.
    """
    grid = windows.grid
    sides = [grid.height, grid.width, grid.window_size, grid.shift]
    return windows.kept, [*sides, windows.num_windows]


def rows_arguments(kept: Tensor | None, windows: list[int]) -> dict[str, Any]:
    """Arguments of `device_functions.token_rows`, from those of an operator."""
    height, width, window, shift, count = windows
    return dict(
        num_items=count * window**2,
        kept=kept,
        height=height,
        width=width,
        HAS_KEPT=kept is not None,
        WINDOW=window,
        SHIFT=shift,
    )


def row_blocks(channels: int) -> dict[str, int]:
    """Tile of a kernel that works on rows of channels: about 4096 values, whole rows."""
    block = triton.next_power_of_2(channels)
    return dict(
        BLOCK_ROWS=max(1, min(64, 4096 // block)),
        BLOCK_CHANNELS=block,
        num_warps=4 if block <= 2048 else 8,
    )
