"""Bicubic resizing of position tables to another window or grid, as in Swin's finetuning."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize_bias_table(table: Tensor, window_size: int) -> Tensor:
    """Interpolates a table of relative position biases to another window.

    Args:
        table: ((2 * s - 1)**2, heads) biases for windows of any side s.
        window_size: Side of the new window.

    Returns:
        ((2 * window_size - 1)**2, heads) biases; `table` itself if the window is the same.
    """
    side, new_side = round(table.shape[0] ** 0.5), 2 * window_size - 1
    if side == new_side:
        return table
    image = table.t().reshape(1, -1, side, side).float()
    resized = F.interpolate(image, size=(new_side, new_side), mode='bicubic')
    return resized.view(-1, new_side**2).t().contiguous().to(table.dtype)


def resize_position_embedding(
    embedding: Tensor, grid: tuple[int, int], new_grid: tuple[int, int]
) -> Tensor:
    """Interpolates an absolute position embedding to another grid.

    Args:
        embedding: (1, rows * cols, C), laid out row by row.
        grid: Its (rows, cols).
        new_grid: The wanted (rows, cols).

    Returns:
        (1, new_rows * new_cols, C); `embedding` itself if the grid is the same.
    """
    if grid == new_grid:
        return embedding
    image = embedding.view(1, *grid, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(image.float(), size=new_grid, mode='bicubic', align_corners=False)
    return resized.flatten(2).transpose(1, 2).to(embedding.dtype)
