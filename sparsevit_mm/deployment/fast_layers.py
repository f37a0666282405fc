"""What layers of PyTorch become in the inference form: they take any input to their own precision.

A layer keeps its parameters, its name and its place, and is still an instance of its old class.
"""

from __future__ import annotations

from torch import Tensor, nn

from sparsevit_mm.models.sparse_heads import SparseConv2d
from sparsevit_mm.ops.tokens import product


class FastLinear(nn.Linear):
    """A linear layer that oneDNN computes where it is the faster."""

    def forward(self, rows: Tensor) -> Tensor:
        """(..., I) to (..., O), in the dtype of the weights."""
        return product(rows.to(self.weight.dtype), self.weight, self.bias)


class FastConv2d(nn.Conv2d):
    """A convolution in the dtype of its weights."""

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, I, H, W) to (B, O, H', W')."""
        return super().forward(feature_map.to(self.weight.dtype))


class FastSparseConv2d(SparseConv2d):
    """A convolution of windows in the dtype of its weights."""

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, I, H, W) to (B, O, H', W')."""
        return super().forward(feature_map.to(self.weight.dtype))


class FastConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution in the dtype of its weights."""

    def forward(self, feature_map: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, I, H, W) to (B, O, H', W')."""
        return super().forward(feature_map.to(self.weight.dtype), output_size)


FAST_FORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: FastLinear,
    nn.Conv2d: FastConv2d,
    SparseConv2d: FastSparseConv2d,
    nn.ConvTranspose2d: FastConvTranspose2d,
}
