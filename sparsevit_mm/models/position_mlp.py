"""Positions through a small MLP, as FasterViT does: embeddings of places and biases of offsets.

Each module holds the three tensors of `cpb_mlp` and nothing derived, so a checkpoint fits every
grid. The authors normalize by the side of a square grid; here rows are normalized by the height and
columns by the width, which is the same on every grid their weights were trained on.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsevit_mm.ops.backend import autocast_dtype, is_symbolic
from sparsevit_mm.ops.compat import is_dynamo_compiling
from sparsevit_mm.ops.tokens import apply_layers

_LARGEST_CACHED = 1024
"""Places of a grid up to which its index map is remembered; it has their square of entries."""

HIDDEN_DIMS = 512
MAX_BIAS = 16.0

MOST_GRIDS = 4
"""Grids whose values the inference form keeps: portrait and landscape, and one more of each."""

MOST_VALUES = 2**24
"""More values than this (64 MiB of float32) are computed anew instead."""


class PositionMLP(nn.Module, ABC):
    """An MLP of positions.

    Args:
        out_dims: Outputs for each position.
    """

    follows_from_weights = True
    """What it computes is the same for all images; `model_macs` does not count it."""

    def __init__(self, out_dims: int) -> None:
        super().__init__()
        self.cpb_mlp = nn.Sequential(
            nn.Linear(2, HIDDEN_DIMS), nn.ReLU(), nn.Linear(HIDDEN_DIMS, out_dims, bias=False)
        )

    @abstractmethod
    def forward(self, *grid: int) -> Tensor:
        """The values for a grid."""

    def _of(self, make: Callable[..., Tensor], height: int, width: int) -> Tensor:
        """(P, out_dims) outputs for the (P, 2) positions that `make` makes of a grid."""
        # Quantized layers have no parameters; they compute float32 on a CPU.
        weight = next(self.parameters(), torch.empty(0))
        positions = _cached(make, height, width, weight.device).to(weight.dtype)
        return apply_layers(self.cpb_mlp, positions)


class PlaceEmbedding(PositionMLP):
    """A learned embedding of every place of a grid (FasterViT, the P of hierarchical attention).

    Args:
        out_dims: Channels C.
    """

    def forward(self, *grid: int) -> Tensor:
        """Embeddings of the places of a grid of (height, width).

        Returns:
            (height * width, C) in raster order.
        """
        return self._of(_places, *grid)


class OffsetBias(PositionMLP):
    """A learned attention bias for every offset between two places of a grid (SwinV2's form).

    Args:
        out_dims: Attention heads.
    """

    def forward(self, *grid: int) -> Tensor:
        """Biases between the places of a grid of (height, width, carriers).

        `carriers` tokens without a place stand before those of the grid; pairs with one of them
        have bias 0.

        Returns:
            (heads, N, N) bias of each query (row) for each key, N = carriers + height * width.
        """
        height, width, carriers = grid
        # By head, so that each bias lies in one piece.
        table = self._of(_offsets, height, width).t().sigmoid() * MAX_BIAS
        index = _cached(_offset_index, height, width, table.device)
        biases = table.index_select(1, index).view(-1, height * width, height * width)
        return F.pad(biases, (carriers, 0, carriers, 0)) if carriers else biases


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


class FixedWeights(nn.Module):
    """A `PositionMLP` that keeps its values for the last grids (the inference form).

    Its weights do not change any more. Nothing is kept while a graph is made.

    Args:
        mlp: A `PositionMLP`.
    """

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.mlp = mlp.requires_grad_(False)
        self._kept: dict[tuple[Any, ...], Tensor] = {}

    def forward(self, *grid: int) -> Tensor:
        """The values for a grid, see the MLP."""
        weight = next(self.mlp.parameters())
        is_autocast = autocast_dtype(weight.device.type) is not None
        if is_dynamo_compiling() or is_symbolic(*grid) or is_autocast:
            return self.mlp(*grid)
        key = (*grid, weight.device, weight.dtype)
        found = self._kept.get(key)
        if found is None:
            # Made outside inference mode: it may serve a forward outside it later.
            with torch.inference_mode(False), torch.no_grad():
                found = self.mlp(*grid)
            if found.numel() <= MOST_VALUES:
                # One assignment, so that other threads see the old ones or the new ones.
                self._kept = {**dict([*self._kept.items()][1 - MOST_GRIDS :]), key: found}
        return found


def _places(height: int, width: int, device: torch.device) -> Tensor:
    """(height * width, 2) places, normalized to about -1 to 1, in raster order."""
    rows, cols = (
        (torch.arange(side, device=device) - side // 2) / max(side // 2, 1)
        for side in (height, width)
    )
    return torch.stack(torch.meshgrid(rows, cols, indexing='ij'), dim=-1).view(-1, 2)


def _offsets(height: int, width: int, device: torch.device) -> Tensor:
    """((2 * height - 1) * (2 * width - 1), 2) offsets between places, on SwinV2's log scale."""
    rows, cols = (
        torch.arange(1 - side, side, device=device) * 8 / max(side - 1, 1)
        for side in (height, width)
    )
    offsets = torch.stack(torch.meshgrid(rows, cols, indexing='ij'), dim=-1)
    return (offsets.sign() * (offsets.abs() + 1).log2() / math.log2(8)).view(-1, 2)


def _offset_index(height: int, width: int, device: torch.device) -> Tensor:
    """(N * N,) the row of `_offsets` for every pair of places, N = height * width."""
    row, col = (torch.arange(side, device=device) for side in (height, width))
    row = row[:, None] - row[None, :] + height - 1
    col = col[:, None] - col[None, :] + width - 1
    index = row[:, None, :, None] * (2 * width - 1) + col[None, :, None, :]
    return index.reshape(-1)


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)
def _remembered(make: Callable[..., Tensor], *grid: Any) -> Tensor:
    return make(*grid)


def _cached(make: Callable[..., Tensor], height: int, width: int, device: torch.device) -> Tensor:
    """What follows from a grid and a device alone."""
    if is_dynamo_compiling() or is_symbolic(height, width) or height * width > _LARGEST_CACHED:
        return make(height, width, device)
    return _remembered(make, height, width, device)
