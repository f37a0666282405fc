"""Cutting a whole map into windows and joining them again, for blocks that compute all of them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from sparsevit_mm.ops.exporting import is_certain


def pad_to_windows(feature_map: Tensor, window_size: int) -> Tensor:
    """Zero-pads on the right and bottom to a multiple of the window.

    Args:
        feature_map: (B, H, W, C).
        window_size: Side of a window in tokens.

    Returns:
        (B, H', W', C); `feature_map` itself where nothing is missing.
    """
    sides = feature_map.shape[1:3]
    full = ((side + window_size - 1) // window_size * window_size for side in sides)
    bottom, right = (whole - side for whole, side in zip(full, sides))
    if is_certain(bottom == 0) and is_certain(right == 0):
        return feature_map
    return F.pad(feature_map, (0, 0, 0, right, 0, bottom))


def split_windows(feature_map: Tensor, window_size: int) -> Tensor:
    """Cuts a map into windows.

    Args:
        feature_map: (B, H, W, C), sides multiples of the window.
        window_size: Side of a window in tokens.

    Returns:
        (B * windows, window_size**2, C), windows row by row, raster order inside each.
    """
    batch, height, width, channels = feature_map.shape
    rows, cols = height // window_size, width // window_size
    windows = feature_map.view(batch, rows, window_size, cols, window_size, channels)
    return windows.transpose(2, 3).reshape(-1, window_size**2, channels)


def join_windows(windows: Tensor, window_size: int, rows: int, cols: int) -> Tensor:
    """The inverse of `split_windows`.

    Args:
        windows: (B * rows * cols, window_size**2, C).
        window_size: Side of a window in tokens.
        rows: Windows from top to bottom.
        cols: Windows from left to right.

    Returns:
        (B, rows * window_size, cols * window_size, C).
    """
    split = windows.view(-1, rows, cols, window_size, window_size, windows.shape[-1])
    return split.transpose(2, 3).reshape(
        -1, rows * window_size, cols * window_size, split.shape[-1]
    )
