"""Attention inside windows: scores with a position bias and masks, softmax, values."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevit_mm.ops.backend import use_triton
from sparsevit_mm.ops.compat import is_dynamo_compiling
from sparsevit_mm.ops.windows import Windows, index_maps

LARGEST_WINDOW = 256
"""Tokens of a window up to which the kernel computes it; more are the vendor's library's."""

LARGEST_HEAD = 128
"""Channels of a head up to which the kernel computes it."""


class Masks(NamedTuple):
    """Additive attention masks, shared by windows of the same kind.

    Attributes:
        values: (P, N, N) or, for keys alone, (P, 1, N): added to the scores of all heads.
        ids: (W,) int64, which of the P each window takes, 0 for windows that need none: mask 0 is
            0. None if all take the first.
    """

    values: Tensor
    ids: Tensor | None


def attend(
    qkv: Tensor,
    num_heads: int,
    bias: Tensor,
    masks: Masks | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attention of every window over its own tokens.

    Args:
        qkv: (W, N, 3 * C) queries, keys and values, heads side by side in each.
        num_heads: Heads; each has D = C / heads channels.
        bias: (heads, N, N) added to the scores of all windows.
        masks: What windows must not see; None for nothing.
        scale: Factor on query-key products; D**-0.5 by default.
        dropout: Probability of dropping an attention weight.

    Returns:
        (W, N, C), heads side by side.
    """
    num_tokens, packed = qkv.shape[1:]
    head_dims = packed // (3 * num_heads)
    values, ids = (None, None) if masks is None else masks
    small = num_tokens <= LARGEST_WINDOW and head_dims <= LARGEST_HEAD
    if small and dropout == 0 and (values is None or ids is not None) and use_triton(qkv):
        from sparsevit_mm.ops.triton.window_attention import window_attention

        return window_attention(qkv.contiguous(), num_heads, bias.contiguous(), values, ids, scale)
    return attend_by_pytorch(qkv, num_heads, bias, masks, scale, dropout)


def attend_by_pytorch(
    qkv: Tensor,
    num_heads: int,
    bias: Tensor,
    masks: Masks | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """`attend` by PyTorch's operators, whatever the device."""
    num_windows, num_tokens, packed = qkv.shape
    head_dims = packed // (3 * num_heads)
    values, ids = (None, None) if masks is None else masks
    split = qkv.view(num_windows, num_tokens, 3, num_heads, head_dims).permute(2, 0, 3, 1, 4)
    if scale is None:
        scale = head_dims**-0.5
    if qkv.is_cuda and head_dims % 8:
        # The fused forms on a GPU take heads of multiples of 8 alone.
        split = F.pad(split, (0, -head_dims % 8))
    query, key, value = split.unbind(0)
    added = bias[None]
    if values is not None:
        added = added + values[:, None]
        added = added[:1] if ids is None else added.index_select(0, ids)
    out = F.scaled_dot_product_attention(
        query, key, value, attn_mask=added.to(query.dtype), dropout_p=dropout, scale=scale
    )
    return out[..., :head_dims].transpose(1, 2).reshape(num_windows, num_tokens, -1)


def relative_position_bias(table: Tensor, window_size: int) -> Tensor:
    """Spreads Swin's table over all pairs of tokens in a window.

    Args:
        table: ((2 * window_size - 1)**2, heads) learned biases, laid out as in every published Swin
            checkpoint.
        window_size: Side of a window in tokens.

    Returns:
        (heads, window_size**2, window_size**2) bias of each query (row) for each key (column),
        contiguous.
    """
    num_tokens = window_size**2
    make = _offset_index.__wrapped__ if is_dynamo_compiling() else _offset_index
    index = make(window_size, table.device)
    biases = table.index_select(0, index).view(num_tokens, num_tokens, -1)
    return biases.permute(2, 0, 1).contiguous()


def edge_masks(windows: Windows) -> Masks | None:
    """What windows of a shifted grid must not see: what lies beyond an edge of the map (Swin).

    Args:
        windows: W windows.

    Returns:
        float32 masks, Swin's -100 where two tokens must not see each other, 0 elsewhere, numbered
        as `IndexMaps.mask_ids`; None for a plain grid and for windows inside the map.
    """
    ids = None if windows.is_interior else index_maps(windows.grid, windows.device).mask_ids
    if ids is None:
        return None
    make = _edge_masks.__wrapped__ if is_dynamo_compiling() else _edge_masks
    values = make(windows.grid.window_size, windows.grid.shift, windows.device)
    return Masks(values, windows.per_window(ids))


def key_mask(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """An additive mask that hides keys.

    Args:
        hidden: (P, N) bool, keys that none may see.
        dtype: Of the mask.

    Returns:
        (P, 1, N): -inf at hidden keys, 0 elsewhere.
    """
    mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    return mask.masked_fill(hidden, -torch.inf)[:, None]


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)
def _offset_index(window_size: int, device: torch.device) -> Tensor:
    side = torch.arange(window_size, device=device)
    offset = side[:, None] - side[None, :] + window_size - 1
    rows = offset[:, None, :, None] * (2 * window_size - 1)
    return (rows + offset[None, :, None, :]).reshape(-1)


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)
def _edge_masks(window_size: int, shift: int, device: torch.device) -> Tensor:
    wrapped = torch.arange(window_size, device=device) >= window_size - shift
    rows = wrapped[:, None].expand(window_size, window_size).flatten()
    cols = wrapped[None, :].expand(window_size, window_size).flatten()
    # Exclusive or is inequality that torch's compiler knows for truth values on every device.
    across_rows = rows[:, None] ^ rows[None, :]
    across_cols = cols[:, None] ^ cols[None, :]
    apart = torch.stack(
        [torch.zeros_like(across_rows), across_rows, across_cols, across_rows | across_cols]
    )
    return torch.zeros(apart.shape, device=device).masked_fill(apart, -100.0)
