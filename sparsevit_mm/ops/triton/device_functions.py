"""What several kernels do on the device: find tokens of windows, read them, norm them, write them.

A window's tokens are found by arithmetic from its index, as `WindowGrid` defines it, so nothing but
the kept windows' indices is read from memory, and another size needs no other kernel.

A program works on a few tokens and takes their channels block by block. A block has a power of 2 of
channels, but several need not make one: three blocks of 32 leave no lane idle at 96 channels. Every
thread works on one token, finds its row once and reads 16 bytes of it at a time.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def token_rows(
    num_items,
    kept,
    height,
    width,
    WINDOW: tl.constexpr,
    SHIFT: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
):
    """The tokens of chosen windows that this program works on, and their rows of the map.

    Args:
        num_items: Tokens there are.
        kept: (W,) int64 indices of the chosen windows over all images; None for all windows.
        height: Height of the map in tokens.
        width: Width of the map in tokens.
        WINDOW: Side of a window in tokens.
        SHIFT: Cyclic shift of the grid in tokens.
        BLOCK_ROWS: Tokens of a program.

    Returns:
        (BLOCK_ROWS,) each: int32 indices of the tokens, counted over the chosen windows; whether
        there is such a token; int32 rows of the map; whether the token lies on the map.
    """
    item = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    exists = item < num_items
    rows = (height + WINDOW - 1) // WINDOW
    cols = (width + WINDOW - 1) // WINDOW
    chosen = item // (WINDOW * WINDOW)
    place = item % (WINDOW * WINDOW)
    if kept is not None:
        chosen = tl.load(kept + chosen, mask=exists, other=0).to(tl.int32)
    image = chosen // (rows * cols)
    window = chosen % (rows * cols)
    row = window // cols * WINDOW + place // WINDOW + SHIFT
    col = window % cols * WINDOW + place % WINDOW + SHIFT
    row = tl.where(row >= rows * WINDOW, row - rows * WINDOW, row)
    col = tl.where(col >= cols * WINDOW, col - cols * WINDOW, col)
    on_map = exists & (row < height) & (col < width)
    return item, exists, (image * height + row) * width + col, on_map


@triton.jit
def load_block(
    rows, mask, first: tl.constexpr, CHANNELS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr
):
    """Reads a block of the channels of rows.

    Args:
        rows: (R,) where rows begin in memory.
        mask: (R,) bool, rows to read; the others are 0.
        first: First channel of the block.
        CHANNELS: Channels C of a row.
        BLOCK_CHANNELS: Channels of a block; 0 beyond the channels.

    Returns:
        (R, BLOCK_CHANNELS) float32.
    """
    channel = first + tl.arange(0, BLOCK_CHANNELS)
    inside = mask[:, None] & (channel < CHANNELS)[None, :]
    return tl.load(rows[:, None] + channel[None, :], mask=inside, other=0.0).to(tl.float32)


@triton.jit
def store_block(
    rows, values, mask, first: tl.constexpr, CHANNELS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr
):
    """Writes what `load_block` reads, in the dtype of the memory."""
    channel = first + tl.arange(0, BLOCK_CHANNELS)
    inside = mask[:, None] & (channel < CHANNELS)[None, :]
    tl.store(rows[:, None] + channel[None, :], values.to(rows.dtype.element_ty), mask=inside)


@triton.jit
def load_sum(
    rows,
    mask,
    branch,
    branch_mask,
    factors,
    first: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
):
    """Reads a block of the sum of rows and a branch.

    Args:
        rows: As of `load_block`.
        mask: As of `load_block`.
        branch: (R,) where the rows of the branch begin; None for no branch.
        branch_mask: (R,) bool, rows of the branch to read.
        factors: (R,) where factors on the branch begin, the same for all rows; None for none.
        first: As of `load_block`.
        CHANNELS: As of `load_block`.
        BLOCK_CHANNELS: As of `load_block`.

    Returns:
        (R, BLOCK_CHANNELS) float32.
    """
    x = load_block(rows, mask, first, CHANNELS, BLOCK_CHANNELS)
    if branch is not None:
        added = load_block(branch, branch_mask, first, CHANNELS, BLOCK_CHANNELS)
        if factors is not None:
            added *= load_block(factors, branch_mask, first, CHANNELS, BLOCK_CHANNELS)
        x += added
    return x


@triton.jit
def moments(
    rows,
    mask,
    branch,
    branch_mask,
    factors,
    eps,
    CHANNELS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
):
    """What a layer norm of the sum of `load_sum` takes off and multiplies with.

    Blocks are read again where they are needed again: the compiler keeps them in registers while
    nothing is written, and the cache has them afterwards.

    Returns:
        (BLOCK_ROWS, 1) each: the mean, and the reciprocal of the standard deviation.
    """
    total = tl.zeros([BLOCK_ROWS, BLOCK_CHANNELS], tl.float32)
    for first in tl.static_range(0, CHANNELS, BLOCK_CHANNELS):
        total += load_sum(rows, mask, branch, branch_mask, factors, first, CHANNELS, BLOCK_CHANNELS)
    mean = (tl.sum(total, axis=1) / CHANNELS)[:, None]
    squares = tl.zeros([BLOCK_ROWS, BLOCK_CHANNELS], tl.float32)
    for first in tl.static_range(0, CHANNELS, BLOCK_CHANNELS):
        x = load_sum(rows, mask, branch, branch_mask, factors, first, CHANNELS, BLOCK_CHANNELS)
        inside = (first + tl.arange(0, BLOCK_CHANNELS) < CHANNELS)[None, :]
        centered = tl.where(inside, x - mean, 0.0)
        squares += centered * centered
    return mean, tl.rsqrt(tl.sum(squares, axis=1) / CHANNELS + eps)[:, None]
