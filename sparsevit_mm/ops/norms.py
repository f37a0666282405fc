"""Residual connections and the norms that follow or precede them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparsevit_mm.models.drop_path import DropPath
from sparsevit_mm.ops.backend import run_kernels
from sparsevit_mm.ops.compat import autocast_dtype


def add_and_norm(
    tokens: Tensor,
    branch: Tensor,
    norm: nn.LayerNorm,
    drop_path: DropPath,
    batch_size: int,
    factors: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Adds a residual branch and norms the sum.

    Args:
        tokens: (W, N, C), ordered image by image.
        branch: (W, N, C).
        norm: The norm.
        drop_path: Stochastic depth of the branch.
        batch_size: Images in the batch.
        factors: (C,) factors on the branch (layer scale); None for no factors.

    Returns:
        The sum and the normed sum, (W, N, C) each.
    """
    if run_kernels(tokens) and not drop_path.training:
        from sparsevit_mm.ops.triton.residual_norm import residual_norm

        return residual_norm(
            tokens.contiguous(),
            branch.contiguous(),
            norm.weight,
            norm.bias,
            norm.eps,
            factors=factors,
            dtype=product_dtype(tokens),
        )
    total = tokens + drop_path(branch if factors is None else branch * factors, batch_size)
    return total, norm(total)


def product_dtype(tokens: Tensor) -> torch.dtype:
    """In which dtype a matrix product takes these tokens."""
    return autocast_dtype(tokens.device.type) or tokens.dtype
