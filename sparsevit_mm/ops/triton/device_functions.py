"""What several kernels do on the device: find the tokens of windows, norm rows.

A window's tokens are found by arithmetic from its index, as `WindowGrid` defines it, so nothing but
the kept windows' indices is read from memory, and another size needs no other kernel.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def token_rows(
    item,
    num_items,
    kept,
    height,
    width,
    HAS_KEPT: tl.constexpr,
    WINDOW: tl.constexpr,
    SHIFT: tl.constexpr,
):
    """Rows of the map for tokens of chosen windows.

    Args:
        item: Block of indices of tokens, counted over the chosen windows.
        num_items: Tokens there are.
        kept: (W,) int64 indices of the chosen windows over all images, if HAS_KEPT.
        height: Height of the map in tokens.
        width: Width of the map in tokens.
        HAS_KEPT: Whether windows were chosen; else all are computed.
        WINDOW: Side of a window in tokens.
        SHIFT: Cyclic shift of the grid in tokens.

    Returns:
        int64 rows, and whether each item is a token that lies on the map.
    """
    rows = (height + WINDOW - 1) // WINDOW
    cols = (width + WINDOW - 1) // WINDOW
    chosen = item // (WINDOW * WINDOW)
    place = item % (WINDOW * WINDOW)
    exists = item < num_items
    if HAS_KEPT:
        chosen = tl.load(kept + chosen, mask=exists, other=0).to(tl.int32)
    image = chosen // (rows * cols)
    window = chosen % (rows * cols)
    row = window // cols * WINDOW + place // WINDOW + SHIFT
    col = window % cols * WINDOW + place % WINDOW + SHIFT
    row = tl.where(row >= rows * WINDOW, row - rows * WINDOW, row)
    col = tl.where(col >= cols * WINDOW, col - cols * WINDOW, col)
    real = exists & (row < height) & (col < width)
    return (image.to(tl.int64) * height + row) * width + col, real


@triton.jit
def layer_norm(x, channel, weight, bias, eps, CHANNELS: tl.constexpr):
    """Layer norm of rows.

    Args:
        x: (rows, block) float32, 0 beyond the channels.
        channel: (block,) indices of the channels.
        weight: (CHANNELS,) in memory.
        bias: (CHANNELS,) in memory.
        eps: Added to the variance.
        CHANNELS: Channels C.

    Returns:
        (rows, block) float32.
    """
    inside = channel < CHANNELS
    mean = tl.sum(x, axis=1) / CHANNELS
    centered = tl.where(inside[None, :], x - mean[:, None], 0.0)
    variance = tl.sum(centered * centered, axis=1) / CHANNELS
    factor = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    offset = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    normed = centered * tl.rsqrt(variance + eps)[:, None]
    return normed * factor[None, :] + offset[None, :]
