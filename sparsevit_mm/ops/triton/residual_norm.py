"""Residual + layer norm: adds a branch and norms the sum, in one pass over both."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from sparsevit_mm.ops.operators import define
from sparsevit_mm.ops.triton.device_functions import (
    load_block,
    load_sum,
    moments,
    store_block,
    token_rows,
)
from sparsevit_mm.ops.triton.operators import row_blocks, rows_arguments, windows_arguments
from sparsevit_mm.ops.triton.trust import Trusted, random_like, small_windows, windows_of
from sparsevit_mm.ops.windows import MapWindows, Windows


def residual_norm(
    tokens: Tensor,
    branch: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    factors: Tensor | None = None,
    windows: Windows | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Adds a branch to tokens and norms the sum.

    Args:
        tokens: (W, N, C) what the branch is added to; with `windows` the (B * H * W, C) map it is
            read from, padding being 0. Contiguous.
        branch: (W, N, C) contiguous.
        weight: (C,) of the norm.
        bias: (C,) of the norm.
        eps: Of the norm.
        factors: (C,) factors on the branch (layer scale), or None.
        windows: W windows of N tokens to read from a map, or None.
        dtype: Of the normed sum; by default that of `tokens`.

    Returns:
        The sum in the dtype of `tokens`, and the normed sum: (W, N, C) each.
    """
    kept, sides = (None, None) if windows is None else windows_arguments(windows)
    options = eps, dtype or tokens.dtype
    return _OPERATOR(tokens, branch, factors, kept, sides, weight, bias, *options)


def reference(
    tokens: Tensor,
    branch: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    factors: Tensor | None = None,
    windows: Windows | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """`residual_norm` in PyTorch, in float32 between reading and writing."""
    own = tokens if windows is None else MapWindows(tokens, windows).read()
    added = branch.float() if factors is None else branch.float() * factors.float()
    total = own.float() + added
    normed = F.layer_norm(total, weight.shape, weight.float(), bias.float(), eps)
    return total.to(tokens.dtype), normed.to(dtype or tokens.dtype)


@triton.jit(do_not_specialize=['num_items', 'height', 'width'])
def _kernel(
    tokens,
    branch,
    factors,
    weight,
    bias,
    total,
    normed,
    eps,
    num_items,
    kept,
    height,
    width,
    WINDOW: tl.constexpr,
    SHIFT: tl.constexpr,
    FROM_MAP: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
):
    item, exists, row, on_map = token_rows(
        num_items, kept, height, width, WINDOW, SHIFT, BLOCK_ROWS
    )
    place = item.to(tl.int64) * CHANNELS
    if FROM_MAP:
        source = tokens + row.to(tl.int64) * CHANNELS
        readable = on_map
    else:
        source = tokens + place
        readable = exists
    added = branch + place
    same = tl.zeros([BLOCK_ROWS], tl.int32)  # all rows read the same weights
    if factors is not None:
        factors += same
    mean, scale = moments(
        source, readable, added, exists, factors, eps, CHANNELS, BLOCK_ROWS, BLOCK_CHANNELS
    )
    for first in tl.static_range(0, CHANNELS, BLOCK_CHANNELS):
        x = load_sum(source, readable, added, exists, factors, first, CHANNELS, BLOCK_CHANNELS)
        factor = load_block(weight + same, exists, first, CHANNELS, BLOCK_CHANNELS)
        offset = load_block(bias + same, exists, first, CHANNELS, BLOCK_CHANNELS)
        store_block(total + place, x, exists, first, CHANNELS, BLOCK_CHANNELS)
        y = (x - mean) * scale * factor + offset
        store_block(normed + place, y, exists, first, CHANNELS, BLOCK_CHANNELS)


def _launch(
    tokens: Tensor,
    branch: Tensor,
    factors: Tensor | None,
    kept: Tensor | None,
    windows: list[int] | None,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    total, normed = _empty(tokens, branch, factors, kept, windows, weight, bias, eps, dtype)
    channels = branch.shape[-1]
    num_items, blocks = branch.numel() // channels, row_blocks(branch)
    # Where nothing is read from a map, only how many there are counts.
    sides = rows_arguments(kept, windows or [1, 1, 1, 0, num_items])
    _kernel[triton.cdiv(num_items, blocks['BLOCK_ROWS']),](
        tokens,
        branch,
        factors,
        weight,
        bias,
        total,
        normed,
        eps,
        **sides,
        FROM_MAP=windows is not None,
        CHANNELS=channels,
        **blocks,
    )
    return total, normed


def _empty(
    tokens: Tensor,
    branch: Tensor,
    factors: Tensor | None,
    kept: Tensor | None,
    windows: list[int] | None,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    return tokens.new_empty(branch.shape), tokens.new_empty(branch.shape, dtype=dtype)


def _plain(
    tokens: Tensor,
    branch: Tensor,
    factors: Tensor | None,
    kept: Tensor | None,
    windows: list[int] | None,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    located = None if windows is None else windows_of(tokens, kept, windows)
    options: dict[str, Any] = dict(factors=factors, windows=located, dtype=dtype)
    return reference(tokens, branch, weight, bias, eps, **options)


def _sample(
    tokens: Tensor,
    branch: Tensor,
    factors: Tensor | None,
    kept: Tensor | None,
    windows: list[int] | None,
    weight: Tensor,
    bias: Tensor,
    *options: Any,
) -> tuple[Any, ...]:
    channels = branch.shape[-1]
    scale = None if factors is None else random_like(factors, channels)
    if windows is None:
        small = random_like(tokens, 3, 9, channels)
        shape = small.shape
    else:
        small, kept, windows = small_windows(tokens, kept, windows)
        shape = torch.Size([windows[4], windows[2] ** 2, channels])
    added = random_like(branch, *shape)
    norm = random_like(weight, channels), random_like(bias, channels)
    return small, added, scale, kept, windows, *norm, *options


TRUST = Trusted('residual_norm', _launch, _plain, _sample)
_OPERATOR = define(
    'residual_norm(Tensor tokens, Tensor branch, Tensor? factors, Tensor? kept, '
    'SymInt[]? windows, Tensor weight, Tensor bias, float eps, ScalarType dtype) '
    '-> (Tensor, Tensor)',
    TRUST,
    _empty,
)
