"""Matrix products with weights, by the faster of PyTorch's two libraries.

PyTorch takes MKL's products, which leave the AVX-512 units of AMD's processors idle. oneDNN, which
computes PyTorch's convolutions, does not.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsevit_mm.ops.backend import HAS_ONEDNN, run_onednn
from sparsevit_mm.ops.compat import is_compiling
from sparsevit_mm.ops.triton.definition import define


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`; `sparsevit_mm.ops.triton.use` chooses what computes it.

    Args:
        rows: (..., I).
        weight: (O, I).
        bias: (O,) or None.

    Returns:
        (..., O).
    """
    if run_onednn(rows):
        compute = _in_graphs if is_compiling() else _by_onednn
        products: Tensor = compute(rows, weight, bias)
        return products
    return F.linear(rows, weight, bias)


class Linear(nn.Linear):
    """`nn.Linear`, computed by `linear`."""

    weight: nn.Parameter

    def forward(self, rows: Tensor) -> Tensor:
        """See `linear`."""
        return linear(rows, self.weight, self.bias)


def _by_onednn(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    products: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, 'none', [], '')
    return products


if HAS_ONEDNN:
    # torch's compiler takes oneDNN's own operator with weights that it has packed itself only.
    _in_graphs = define(
        'linear(Tensor rows, Tensor weight, Tensor? bias) -> Tensor',
        _by_onednn,
        lambda rows, weight, bias: rows.new_empty(*rows.shape[:-1], weight.shape[0]),
    )
