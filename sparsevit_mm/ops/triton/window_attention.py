"""Attention inside windows on packed queries, keys and values, with bias and masks, in one pass.

Each program computes some queries of one window and head. Scores never reach memory; keys are taken
block by block with a running softmax, so windows of any size fit.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from sparsevit_mm.ops.attention import Masks, attend_by_pytorch
from sparsevit_mm.ops.operators import define
from sparsevit_mm.ops.triton.trust import Trusted, random_like


def window_attention(
    qkv: Tensor,
    num_heads: int,
    bias: Tensor,
    masks: Tensor | None = None,
    mask_ids: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Attention of every window over its own tokens.

    Args:
        qkv: (W, N, 3 * C) queries, keys and values, heads side by side in each; contiguous.
        num_heads: Heads; each has D = C / heads <= 128 channels.
        bias: (heads, N, N) added to the scores of all windows.
        masks: (P, N, N) or, for keys alone, (P, 1, N): added to the scores of the windows that take
            each. Windows of id 0 have no mask: mask 0 is not read.
        mask_ids: (W,) int64, which mask each window takes; None without masks.
        scale: Factor on query-key products; D**-0.5 by default.

    Returns:
        (W, N, C), heads side by side.
    """
    if scale is None:
        scale = (qkv.shape[-1] // (3 * num_heads)) ** -0.5
    return _OPERATOR(qkv, num_heads, bias, masks, mask_ids, scale)


def reference(
    qkv: Tensor,
    num_heads: int,
    bias: Tensor,
    masks: Tensor | None = None,
    mask_ids: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """`window_attention` in PyTorch, in float32 between reading and writing."""
    num_windows, num_tokens, packed = qkv.shape
    head_dims = packed // (3 * num_heads)
    split = qkv.float().view(num_windows, num_tokens, 3, num_heads, head_dims)
    query, key, value = split.permute(2, 0, 3, 1, 4)
    scores = query @ key.transpose(-1, -2) * (head_dims**-0.5 if scale is None else scale)
    scores = scores + bias.float()
    if masks is not None and mask_ids is not None:
        mask = masks.float().index_fill(0, mask_ids.new_zeros(1), 0)[mask_ids]
        scores = scores + mask[:, None]
    out = scores.softmax(-1) @ value
    return out.transpose(1, 2).reshape(num_windows, num_tokens, -1).to(qkv.dtype)


@triton.jit
def _kernel(
    qkv,
    bias,
    masks,
    mask_ids,
    out,
    scale,
    mask_stride,
    query_stride,
    TOKENS: tl.constexpr,
    HEADS: tl.constexpr,
    HEAD_DIMS: tl.constexpr,
    HAS_MASKS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_QUERIES: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
    BLOCK_DIMS: tl.constexpr,
):
    # Heads of a window follow each other: together they read whole rows.
    head = tl.program_id(0) % HEADS
    window = (tl.program_id(0) // HEADS).to(tl.int64)
    query = tl.program_id(1) * BLOCK_QUERIES + tl.arange(0, BLOCK_QUERIES)
    channel = tl.arange(0, BLOCK_DIMS)
    row_stride: tl.constexpr = 3 * HEADS * HEAD_DIMS
    packed = qkv + window * TOKENS * row_stride + head * HEAD_DIMS
    wanted = (query < TOKENS)[:, None] & (channel < HEAD_DIMS)[None, :]
    q = tl.load(packed + query[:, None] * row_stride + channel[None, :], mask=wanted, other=0.0)
    mask_id = tl.load(mask_ids + window) if HAS_MASKS else 0

    # In powers of 2, which is what the hardware computes.
    LOG2_E: tl.constexpr = 1.4426950408889634
    largest = tl.full([BLOCK_QUERIES], float('-inf'), tl.float32)
    weight = tl.zeros([BLOCK_QUERIES], tl.float32)
    total = tl.zeros([BLOCK_QUERIES, BLOCK_DIMS], tl.float32)
    for first in range(0, TOKENS, BLOCK_KEYS):
        key = first + tl.arange(0, BLOCK_KEYS)
        seen = (key < TOKENS)[:, None] & (channel < HEAD_DIMS)[None, :]
        source = packed + key[:, None] * row_stride + channel[None, :]
        k = tl.load(source + HEADS * HEAD_DIMS, mask=seen, other=0.0)
        v = tl.load(source + 2 * HEADS * HEAD_DIMS, mask=seen, other=0.0)
        pair = (query < TOKENS)[:, None] & (key < TOKENS)[None, :]
        added = tl.load(
            bias + (head * TOKENS + query[:, None]) * TOKENS + key[None, :], mask=pair, other=0.0
        ).to(tl.float32)
        if HAS_MASKS:  # noqa: SIM102 -- decided when the kernel is compiled, the next when it runs
            if mask_id != 0:
                mask = masks + mask_id * mask_stride + query[:, None] * query_stride + key[None, :]
                added += tl.load(mask, mask=pair, other=0.0).to(tl.float32)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale + added
        scores = tl.where((key < TOKENS)[None, :], scores * LOG2_E, float('-inf'))
        new_largest = tl.maximum(largest, tl.max(scores, axis=1))
        # A block may hold nothing but hidden keys.
        base = tl.where(new_largest == float('-inf'), 0.0, new_largest)
        shares = tl.exp2(scores - base[:, None])
        before = tl.exp2(largest - base)
        weight = weight * before + tl.sum(shares, axis=1)
        total = total * before[:, None]
        total += tl.dot(shares.to(v.dtype), v, input_precision=PRECISION)
        largest = new_largest
    place = (window * TOKENS + query)[:, None] * (HEADS * HEAD_DIMS) + head * HEAD_DIMS
    result = (total / weight[:, None]).to(out.dtype.element_ty)
    tl.store(out + place + channel[None, :], result, mask=wanted)


def _launch(
    qkv: Tensor,
    num_heads: int,
    bias: Tensor,
    masks: Tensor | None,
    mask_ids: Tensor | None,
    scale: float,
) -> Tensor:
    out = _empty(qkv, num_heads, bias, masks, mask_ids, scale)
    num_windows, num_tokens, channels = out.shape
    head_dims = channels // num_heads
    tile = _tile(num_tokens, head_dims, qkv.dtype)
    _kernel[num_windows * num_heads, triton.cdiv(num_tokens, tile['BLOCK_QUERIES'])](
        qkv,
        bias,
        masks,
        mask_ids,
        out,
        scale,
        0 if masks is None else masks.stride(0),
        0 if masks is None or masks.shape[1] == 1 else masks.stride(1),
        TOKENS=num_tokens,
        HEADS=num_heads,
        HEAD_DIMS=head_dims,
        HAS_MASKS=masks is not None,
        PRECISION=_precision(qkv.dtype),
        **tile,
    )
    return out


def _tile(num_tokens: int, head_dims: int, dtype: torch.dtype) -> dict[str, int]:
    """What a program computes, such that nothing spills (docs/performance.md).

    A window of 7 x 7 and its carriers is one block of 64 keys; 12 x 12 tokens are 160 keys in
    blocks of 32, where the next power of 2 would be 256.
    """
    block = max(triton.next_power_of_2(num_tokens), 16)
    block_dims = max(triton.next_power_of_2(head_dims), 16)
    block_queries, block_keys = (block, block) if block <= 64 else (32, 32)
    if dtype == torch.float32:  # takes twice the registers, and three times the products
        block_queries = 16
    return dict(
        BLOCK_QUERIES=block_queries,
        BLOCK_KEYS=block_keys,
        BLOCK_DIMS=block_dims,
        num_warps=8 if block_queries == 64 and block_dims > 32 else 4,
        # Reading ahead costs registers that larger heads need.
        num_stages=2 if num_tokens > block_keys and block_dims <= 32 else 1,
    )


def _precision(dtype: torch.dtype) -> str:
    """How tensor cores multiply float32: three products of tf32 are as good as one of float32."""
    if dtype != torch.float32 or torch.version.hip is not None:
        return 'ieee'
    return 'tf32x3' if torch.get_float32_matmul_precision() == 'highest' else 'tf32'


def _empty(
    qkv: Tensor,
    num_heads: int,
    bias: Tensor,
    masks: Tensor | None,
    mask_ids: Tensor | None,
    scale: float,
) -> Tensor:
    return qkv.new_empty(*qkv.shape[:2], qkv.shape[2] // 3)


def _plain(
    qkv: Tensor,
    num_heads: int,
    bias: Tensor,
    masks: Tensor | None,
    mask_ids: Tensor | None,
    scale: float,
) -> Tensor:
    found = None if masks is None else Masks(masks, mask_ids)
    return attend_by_pytorch(qkv, num_heads, bias, found, scale)


def _sample(
    qkv: Tensor,
    num_heads: int,
    bias: Tensor,
    masks: Tensor | None,
    mask_ids: Tensor | None,
    scale: float,
) -> tuple[Any, ...]:
    small, ids = random_like(qkv, 3, *qkv.shape[1:]), None
    if masks is not None and mask_ids is not None:
        masks = random_like(masks, 2, *masks.shape[1:])
        masks[0] = 0
        ids = torch.tensor([0, 1, 0], device=mask_ids.device)
    return small, num_heads, random_like(bias, *bias.shape), masks, ids, scale


def pays(dtype: torch.dtype, head_dims: int, capability: tuple[int, int] | None) -> bool:
    """Whether tensor cores compute the products and nothing spills; else PyTorch is faster.

    The figures are in docs/performance.md.

    Args:
        dtype: Of queries, keys and values.
        head_dims: Channels of a head.
        capability: Compute capability of an NVIDIA GPU; None for one of AMD.
    """
    is_half, is_small = dtype != torch.float32, head_dims <= 64
    if capability is None:
        return is_half and is_small
    return capability >= (8, 0) and (is_half or is_small)


def _is_meant(qkv: Tensor, num_heads: int, *args: Any) -> bool:
    if not qkv.is_cuda:  # Triton's interpreter
        return True
    is_nvidia = torch.version.hip is None
    capability = torch.cuda.get_device_capability(qkv.device) if is_nvidia else None
    return pays(qkv.dtype, qkv.shape[-1] // (3 * num_heads), capability)


TRUST = Trusted('window_attention', _launch, _plain, _sample, _is_meant)
_OPERATOR = define(
    'window_attention(Tensor qkv, int num_heads, Tensor bias, Tensor? masks, Tensor? mask_ids, '
    'float scale) -> Tensor',
    TRUST,
    _empty,
)


@register_flop_formula(torch.ops.sparsevit_mm.window_attention)
def _flops(qkv_shape: torch.Size, *args: object, **kwargs: object) -> int:
    """Two products of queries, keys and values; a multiply-add is two operations."""
    num_windows, num_tokens, packed = qkv_shape
    return 4 * math.prod((num_windows, num_tokens, num_tokens, packed // 3))
