"""Gather + layer norm: reads chosen windows of a map and writes them normed, in one pass."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from sparsevit_mm.ops.operators import define
from sparsevit_mm.ops.triton.device_functions import load_block, moments, store_block, token_rows
from sparsevit_mm.ops.triton.operators import row_blocks, rows_arguments, windows_arguments
from sparsevit_mm.ops.triton.trust import Trusted, random_like, small_windows, windows_of
from sparsevit_mm.ops.windows import MapWindows, Windows


def gather_norm(
    tokens: Tensor,
    windows: Windows,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    zero_padding: bool,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Reads windows and norms their tokens.

    Args:
        tokens: (B * H * W, C) the stage's tokens, contiguous.
        windows: W windows of N tokens.
        weight: (C,) of the norm.
        bias: (C,) of the norm.
        eps: Of the norm.
        zero_padding: Whether padding is 0 after the norm; else it is 0 before, so `bias` after.
        dtype: Of the result; by default that of `tokens`.

    Returns:
        (W, N, C).
    """
    options = eps, zero_padding, dtype or tokens.dtype
    return _OPERATOR(tokens, *windows_arguments(windows), weight, bias, *options)


def reference(
    tokens: Tensor,
    windows: Windows,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    zero_padding: bool,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """`gather_norm` in PyTorch, in float32 between reading and writing."""
    own = MapWindows(tokens, windows).read().float()
    normed = F.layer_norm(own, weight.shape, weight.float(), bias.float(), eps)
    padding = windows.maps.padding
    if zero_padding and padding is not None:
        normed = normed.masked_fill(padding, 0)
    return normed.to(dtype or tokens.dtype)


@triton.jit(do_not_specialize=['num_items', 'height', 'width'])
def _kernel(
    tokens,
    weight,
    bias,
    out,
    eps,
    num_items,
    kept,
    height,
    width,
    WINDOW: tl.constexpr,
    SHIFT: tl.constexpr,
    ZERO_PADDING: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
):
    item, exists, row, on_map = token_rows(
        num_items, kept, height, width, WINDOW, SHIFT, BLOCK_ROWS
    )
    source = tokens + row.to(tl.int64) * CHANNELS
    written = out + item.to(tl.int64) * CHANNELS
    same = tl.zeros([BLOCK_ROWS], tl.int32)  # all rows read the same weights
    mean, scale = moments(
        source, on_map, None, None, None, eps, CHANNELS, BLOCK_ROWS, BLOCK_CHANNELS
    )
    for first in tl.static_range(0, CHANNELS, BLOCK_CHANNELS):
        x = load_block(source, on_map, first, CHANNELS, BLOCK_CHANNELS)
        factor = load_block(weight + same, exists, first, CHANNELS, BLOCK_CHANNELS)
        offset = load_block(bias + same, exists, first, CHANNELS, BLOCK_CHANNELS)
        normed = (x - mean) * scale * factor + offset
        if ZERO_PADDING:
            normed = tl.where(on_map[:, None], normed, 0.0)
        store_block(written, normed, exists, first, CHANNELS, BLOCK_CHANNELS)


def _launch(
    tokens: Tensor,
    kept: Tensor | None,
    windows: list[int],
    weight: Tensor,
    bias: Tensor,
    eps: float,
    zero_padding: bool,
    dtype: torch.dtype,
) -> Tensor:
    out = _empty(tokens, kept, windows, weight, bias, eps, zero_padding, dtype)
    blocks = row_blocks(tokens)
    _kernel[triton.cdiv(out.shape[0] * out.shape[1], blocks['BLOCK_ROWS']),](
        tokens,
        weight,
        bias,
        out,
        eps,
        **rows_arguments(kept, windows),
        CHANNELS=tokens.shape[1],
        ZERO_PADDING=zero_padding,
        **blocks,
    )
    return out


def _empty(
    tokens: Tensor,
    kept: Tensor | None,
    windows: list[int],
    weight: Tensor,
    bias: Tensor,
    eps: float,
    zero_padding: bool,
    dtype: torch.dtype,
) -> Tensor:
    return tokens.new_empty(windows[-1], windows[2] ** 2, tokens.shape[1], dtype=dtype)


def _plain(
    tokens: Tensor,
    kept: Tensor | None,
    windows: list[int],
    weight: Tensor,
    bias: Tensor,
    eps: float,
    zero_padding: bool,
    dtype: torch.dtype,
) -> Tensor:
    located = windows_of(tokens, kept, windows)
    options: dict[str, Any] = dict(zero_padding=zero_padding, dtype=dtype)
    return reference(tokens, located, weight, bias, eps, **options)


def _sample(
    tokens: Tensor,
    kept: Tensor | None,
    windows: list[int],
    weight: Tensor,
    bias: Tensor,
    *options: Any,
) -> tuple[Any, ...]:
    small = small_windows(tokens, kept, windows)
    return (*small, random_like(weight, len(weight)), random_like(bias, len(bias)), *options)


TRUST = Trusted('gather_norm', _launch, _plain, _sample)
_OPERATOR = define(
    'gather_norm(Tensor tokens, Tensor? kept, SymInt[5] windows, Tensor weight, Tensor bias, '
    'float eps, bool zero_padding, ScalarType dtype) -> Tensor',
    TRUST,
    _empty,
)
