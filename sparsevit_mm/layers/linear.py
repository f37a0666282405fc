"""Matrix products with weights, by the faster of PyTorch's two libraries.

PyTorch takes MKL's products, which leave the AVX-512 units of AMD's processors idle. oneDNN, which
computes PyTorch's convolutions, does not.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsevit_mm.kernels.choice import run_onednn


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`; `sparsevit_mm.kernels.use` chooses what computes it.

    Args:
        rows: (..., I).
        weight: (O, I).
        bias: (O,) or None.

    Returns:
        (..., O).
    """
    if run_onednn(rows):
        products: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, 'none', [], '')
        return products
    return F.linear(rows, weight, bias)


class Linear(nn.Linear):
    """`nn.Linear`, computed by `linear`."""

    weight: nn.Parameter

    def forward(self, rows: Tensor) -> Tensor:
        """See `linear`."""
        return linear(rows, self.weight, self.bias)
