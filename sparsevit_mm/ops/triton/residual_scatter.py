"""Residual + scatter: adds a branch to windows and writes them into the map, in one pass."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from sparsevit_mm.ops.operators import define
from sparsevit_mm.ops.triton.device_functions import load_sum, store_block, token_rows
from sparsevit_mm.ops.triton.operators import row_blocks, rows_arguments, windows_arguments
from sparsevit_mm.ops.triton.trust import Trusted, random_like, small_windows, windows_of
from sparsevit_mm.ops.windows import Windows, scatter


def residual_scatter_(target: Tensor, tokens: Tensor, branch: Tensor, windows: Windows) -> None:
    """Writes windows and a branch's addition to their places; no token lies in two windows.

    Args:
        target: (B * H * W, C) the stage's tokens, contiguous, changed in place.
        tokens: (W, N, C) windows, contiguous.
        branch: (W, N, C) what is added to them, contiguous.
        windows: Where the W windows of N tokens lie; padding is written nowhere.
    """
    _OPERATOR(target, tokens, branch, *windows_arguments(windows))


def reference(target: Tensor, tokens: Tensor, branch: Tensor, windows: Windows) -> None:
    """`residual_scatter_` in PyTorch, in float32 between reading and writing."""
    total = (tokens.float() + branch.float()).to(target.dtype).flatten(0, 1)
    rows = windows.maps.rows
    if windows.maps.padding is not None:
        real = ~windows.maps.padding.flatten()
        rows, total = rows[real], total[real]
    target[rows] = total


@triton.jit(do_not_specialize=['num_items', 'height', 'width'])
def _kernel(
    target,
    tokens,
    branch,
    num_items,
    kept,
    height,
    width,
    WINDOW: tl.constexpr,
    SHIFT: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
):
    item, _, row, on_map = token_rows(num_items, kept, height, width, WINDOW, SHIFT, BLOCK_ROWS)
    place = item.to(tl.int64) * CHANNELS
    written = target + row.to(tl.int64) * CHANNELS
    for first in tl.static_range(0, CHANNELS, BLOCK_CHANNELS):
        x = load_sum(
            tokens + place, on_map, branch + place, on_map, None, first, CHANNELS, BLOCK_CHANNELS
        )
        store_block(written, x, on_map, first, CHANNELS, BLOCK_CHANNELS)


def _launch(
    target: Tensor, tokens: Tensor, branch: Tensor, kept: Tensor | None, windows: list[int]
) -> None:
    channels = target.shape[1]
    blocks = row_blocks(target)
    _kernel[triton.cdiv(tokens.numel() // channels, blocks['BLOCK_ROWS']),](
        target,
        tokens,
        branch,
        **rows_arguments(kept, windows),
        CHANNELS=channels,
        **blocks,
    )


def _nothing(
    target: Tensor, tokens: Tensor, branch: Tensor, kept: Tensor | None, windows: list[int]
) -> None:
    return None


def _plain(
    target: Tensor, tokens: Tensor, branch: Tensor, kept: Tensor | None, windows: list[int]
) -> None:
    total = (tokens.float() + branch.float()).to(target.dtype)
    # Without a choice of windows the map is new.
    target.copy_(scatter(target, total, windows_of(target, kept, windows)))


def _sample(
    target: Tensor, tokens: Tensor, branch: Tensor, kept: Tensor | None, windows: list[int]
) -> tuple[Any, ...]:
    small, kept, windows = small_windows(target, kept, windows)
    shape = windows[4], windows[2] ** 2, target.shape[1]
    return small, random_like(tokens, *shape), random_like(branch, *shape) / 3, kept, windows


TRUST = Trusted('residual_scatter', _launch, _plain, _sample)
_OPERATOR = define(
    'residual_scatter_(Tensor(a!) target, Tensor tokens, Tensor branch, Tensor? kept, '
    'SymInt[5] windows) -> ()',
    TRUST,
    _nothing,
)
