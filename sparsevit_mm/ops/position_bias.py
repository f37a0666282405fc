"""Relative position bias of Swin: one learned number for every offset and head.

The parameter `relative_position_bias_table` is laid out as in every published Swin checkpoint.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevit_mm.ops.compat import is_dynamo_compiling


def relative_position_bias(table: Tensor, window_size: int) -> Tensor:
    """Spreads the table over all pairs of tokens in a window (Swin).

    Args:
        table: ((2 * window_size - 1)**2, heads) learned biases.
        window_size: Side of a window in tokens.

    Returns:
        (heads, window_size**2, window_size**2) bias of each query (row) for each key (column).
    """
    num_tokens = window_size**2
    make = _offset_index.__wrapped__ if is_dynamo_compiling() else _offset_index
    index = make(window_size, table.device)
    return table.index_select(0, index).view(num_tokens, num_tokens, -1).permute(2, 0, 1)


def resize_bias_table(table: Tensor, window_size: int) -> Tensor:
    """Interpolates a bias table to another window (bicubic, as Swin's fine-tuning does).

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


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)
def _offset_index(window_size: int, device: torch.device) -> Tensor:
    side = torch.arange(window_size, device=device)
    offset = side[:, None] - side[None, :] + window_size - 1
    rows = offset[:, None, :, None] * (2 * window_size - 1)
    return (rows + offset[None, :, None, :]).reshape(-1)
