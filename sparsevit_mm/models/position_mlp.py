"""Positions through a small MLP, as FasterViT does: embeddings of places and biases of offsets.

Each module holds the three tensors of `cpb_mlp` and nothing derived, so a checkpoint fits every
grid. The authors normalise by the side of a square grid; here rows are normalised by the height and
columns by the width, which is the same on every grid their weights were trained on.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsevit_mm.ops.remembered import Remembered

HIDDEN_DIMS = 512
MAX_BIAS = 16.0


class PositionMLP(nn.Module, ABC):
    """An MLP of positions that remembers its results in evaluation, see `remembered`.

    Args:
        out_dims: Outputs for each position.
    """

    def __init__(self, out_dims: int) -> None:
        super().__init__()
        self.cpb_mlp = nn.Sequential(
            nn.Linear(2, HIDDEN_DIMS), nn.ReLU(), nn.Linear(HIDDEN_DIMS, out_dims, bias=False)
        )
        self._remembered = Remembered()

    def forward(self, *grid: int) -> Tensor:
        """The values for a grid, as the subclass's `values` lays them out."""
        parameters = list(self.parameters())
        return self._remembered.get(self.training, parameters, grid, lambda: self.values(*grid))

    @abstractmethod
    def values(self, *grid: int) -> Tensor:
        """Computes what `forward` returns."""

    def train(self, mode: bool = True) -> PositionMLP:
        """Switches the mode and forgets."""
        self._remembered.forget()
        super().train(mode)
        return self

    @property
    def _weight(self) -> Tensor:
        weight = self.cpb_mlp[0].weight
        assert isinstance(weight, Tensor)
        return weight


class PlaceEmbedding(PositionMLP):
    """A learned embedding of every place of a grid (FasterViT, the P of hierarchical attention).

    Args:
        out_dims: Channels C.
    """

    def values(self, *grid: int) -> Tensor:
        """Embeddings of the places of a grid of (height, width).

        Returns:
            (height * width, C) in raster order.
        """
        weight = self._weight
        rows, cols = (
            (torch.arange(side, device=weight.device) - side // 2) / max(side // 2, 1)
            for side in grid
        )
        places = torch.stack(torch.meshgrid(rows, cols, indexing='ij'), dim=-1)
        embedding: Tensor = self.cpb_mlp(places.view(-1, 2).to(weight.dtype))
        return embedding


class OffsetBias(PositionMLP):
    """A learned attention bias for every offset between two places of a grid (SwinV2's form).

    Args:
        out_dims: Attention heads.
    """

    def values(self, *grid: int) -> Tensor:
        """Biases between the places of a grid of (height, width, carriers).

        `carriers` tokens without a place stand before those of the grid; pairs with one of them
        have bias 0.

        Returns:
            (heads, N, N) bias of each query (row) for each key, N = carriers + height * width.
        """
        height, width, carriers = grid
        weight = self._weight
        rows, cols = (
            torch.arange(1 - side, side, device=weight.device) * 8 / max(side - 1, 1)
            for side in (height, width)
        )
        offsets = torch.stack(torch.meshgrid(rows, cols, indexing='ij'), dim=-1)
        offsets = offsets.sign() * (offsets.abs() + 1).log2() / math.log2(8)
        table = MAX_BIAS * self.cpb_mlp(offsets.view(-1, 2).to(weight.dtype)).sigmoid()
        row, col = (torch.arange(side, device=weight.device) for side in (height, width))
        row = row[:, None] - row[None, :] + height - 1
        col = col[:, None] - col[None, :] + width - 1
        index = row[:, None, :, None] * (2 * width - 1) + col[None, :, None, :]
        num_places = height * width
        biases = table[index.reshape(-1)].view(num_places, num_places, -1).permute(2, 0, 1)
        return F.pad(biases, (carriers, 0, carriers, 0)).contiguous()


class FixedValues(nn.Module):
    """The values of a `PositionMLP` for one grid, without the MLP (the inference form).

    Args:
        values: What to return.
    """

    values: Tensor

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.register_buffer('values', values.detach().clone())

    def forward(self, *grid: int) -> Tensor:
        """The values; the grid is the one they were made for."""
        return self.values
