"""What kernels have in common: the arguments that say which windows they work on, and tiles."""

from __future__ import annotations

import math
from typing import Any

import triton
from torch import Tensor

from sparsevit_mm.ops.windows import Windows

_WARPS = 4


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
        WINDOW=window,
        SHIFT=shift,
    )


def row_blocks(rows: Tensor) -> dict[str, int]:
    """Tile of a kernel that works on rows of channels: 16 bytes of a block for every thread.

    Three to six blocks, so that a thread finds the place of its token once for as many reads, and
    few of them beyond the channels.

    Args:
        rows: (..., C) in the dtype that is read.
    """
    channels = rows.shape[-1]
    sizes = [2**power for power in range(4, 17) if 3 <= math.ceil(channels / 2**power) <= 6]
    block = min(
        sizes or [max(16, triton.next_power_of_2(channels))],
        key=lambda size: (math.ceil(channels / size) * size, -size),
    )
    values = 32 * _WARPS * 16 // rows.element_size()
    return dict(BLOCK_ROWS=max(1, values // block), BLOCK_CHANNELS=block, num_warps=_WARPS)
