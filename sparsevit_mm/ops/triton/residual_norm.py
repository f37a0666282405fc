"""Residual + layer norm: adds a branch and norms the sum, in one pass over both."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from sparsevit_mm.ops.operators import define
from sparsevit_mm.ops.triton.device_functions import layer_norm, token_rows
from sparsevit_mm.ops.triton.operators import row_blocks, rows_arguments, windows_arguments
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
    HAS_KEPT: tl.constexpr,
    WINDOW: tl.constexpr,
    SHIFT: tl.constexpr,
    FROM_MAP: tl.constexpr,
    HAS_FACTORS: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
):
    item = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    channel = tl.arange(0, BLOCK_CHANNELS)
    inside = channel < CHANNELS
    exists = (item < num_items)[:, None] & inside[None, :]
    place = item.to(tl.int64)[:, None] * CHANNELS + channel[None, :]
    if FROM_MAP:
        row, real = token_rows(
            item,
            num_items,
            kept,
            height,
            width,
            HAS_KEPT,
            WINDOW,
            SHIFT,
        )
        source = tokens + row[:, None] * CHANNELS + channel[None, :]
        x = tl.load(source, mask=real[:, None] & inside[None, :], other=0.0).to(tl.float32)
    else:
        x = tl.load(tokens + place, mask=exists, other=0.0).to(tl.float32)
    added = tl.load(branch + place, mask=exists, other=0.0).to(tl.float32)
    if HAS_FACTORS:
        added *= tl.load(factors + channel, mask=inside, other=0.0).to(tl.float32)[None, :]
    x += added
    tl.store(total + place, x.to(total.dtype.element_ty), mask=exists)
    y = layer_norm(x, channel, weight, bias, eps, CHANNELS)
    tl.store(normed + place, y.to(normed.dtype.element_ty), mask=exists)


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
    num_items, blocks = branch.numel() // channels, row_blocks(channels)
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
        HAS_FACTORS=factors is not None,
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


_OPERATOR = define(
    'residual_norm(Tensor tokens, Tensor branch, Tensor? factors, Tensor? kept, '
    'SymInt[]? windows, Tensor weight, Tensor bias, float eps, ScalarType dtype) '
    '-> (Tensor, Tensor)',
    _launch,
    _empty,
)
