"""How much a window matters: the L2 norm of its activation (SparseViT)."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsevit_mm.ops.backend import use_chunks
from sparsevit_mm.ops.tokens import chunks
from sparsevit_mm.ops.windows import WindowGrid, index_maps


def token_importance(tokens: Tensor) -> Tensor:
    """Mean magnitude of every token over its channels.

    Args:
        tokens: (..., C) activations, before any norm.

    Returns:
        (...) mean of |x|, in float32 or wider so that half precision does not blur the ranking.
    """
    dtype = torch.promote_types(tokens.dtype, torch.float32)
    if not use_chunks(tokens):
        return tokens.abs().sum(dim=-1, dtype=dtype) / tokens.shape[-1]
    sums = [chunk.abs().sum(dim=-1, dtype=dtype) for chunk in chunks(tokens, 2**19)]
    return torch.cat(sums) / tokens.shape[-1]


def window_scores(importance: Tensor, grid: WindowGrid) -> Tensor:
    """Score of every window: the L2 norm of its tokens' importance, padding counting as 0.

    Args:
        importance: (B, H * W) from `token_importance`.
        grid: The windows over the H x W map.

    Returns:
        (B, num_windows) scores, row-major over the (shifted) grid.
    """
    maps = index_maps(grid, importance.device)
    scores = importance[:, maps.token_index]
    if maps.padding is not None:
        scores = scores.masked_fill(maps.padding, 0)
    return torch.linalg.vector_norm(scores, ord=2, dim=-1)
