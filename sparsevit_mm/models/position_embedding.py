"""Absolute position embedding on a grid of tokens, resized to the map at hand."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize_position_embedding(
    embedding: Tensor, grid: tuple[int, int], new_grid: tuple[int, int]
) -> Tensor:
    """Interpolates an absolute position embedding to another grid (bicubic).

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
