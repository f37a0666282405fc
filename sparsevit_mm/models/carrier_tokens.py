"""Carrier tokens: hierarchical attention (HAT) of FasterViT as layers any window network can use.

Every window carries `ct_size`**2 tokens that summarize it. They are pooled from the map once a
stage; each block first lets all carriers of an image attend to each other, then lets every window
attend over its carriers and its own tokens together. So windows exchange what they know at the cost
of a few tokens each.

Carriers of an image are kept as a map, row by row; `split_windows` cuts it into those of each
window, as it does with tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsevit_mm.models.position_mlp import FixedWeights, OffsetBias, PlaceEmbedding
from sparsevit_mm.ops.attention import Masks, attend, key_mask
from sparsevit_mm.ops.backend import cached_by_grid
from sparsevit_mm.ops.tokens import add_and_norm, drop_path, linear
from sparsevit_mm.ops.windows import WindowGrid, Windows, join_windows, split_windows

POOLINGS = ('authors', 'centered')


class CarrierPooling(nn.Module):
    """Makes a stage's carriers from its map: a depthwise convolution, then a mean over places.

    Only real tokens count: a carrier beside the edge is the mean of what lies on the map. That is
    the authors' average pooling wherever nothing is padded.

    Args:
        channels: Channels C.
        ct_size: Side of a window's carriers.
        pooling: 'authors': the kernel and stride that the released weights were trained with, which
            drift off the windows on large maps; 'centered': every carrier pools its own part of its
            window.
    """

    def __init__(self, channels: int, ct_size: int, pooling: str = 'authors') -> None:
        super().__init__()
        self.ct_size = ct_size
        self.pooling = pooling
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, feature_map: Tensor, grid: WindowGrid) -> Tensor:
        """Pools.

        Args:
            feature_map: (B, C, H, W).
            grid: The windows over it.

        Returns:
            (B, grid.rows * ct_size, grid.cols * ct_size, C); a carrier without a real token is 0.
        """
        pooled = self.conv(feature_map)
        if self.pooling == 'authors' and not grid.is_padded:
            kernel, stride = zip(*(pooling_kernel(*axis) for axis in _axes(grid, self.ct_size)))
            return F.avg_pool2d(pooled, kernel, stride).permute(0, 2, 3, 1)
        rows, cols = pooling_matrices(grid, self.ct_size, self.pooling, pooled.device)
        pooled = pooled.permute(0, 2, 3, 1)
        pooled = rows.to(pooled.dtype) @ pooled.flatten(2)
        return cols.to(pooled.dtype) @ pooled.unflatten(2, (grid.width, -1))


class CarrierBlock(nn.Module):
    """Attention and FFN among all carriers of an image: the global half of a HAT block.

    Args:
        channels: Channels C.
        num_heads: Attention heads.
        hidden_dims: Hidden channels of the FFN.
        qkv_bias: Whether queries, keys and values have a bias.
        drop_rate: Dropout in the FFN and after attention.
        attn_drop_rate: Dropout of attention weights.
        drop_path_rate: Stochastic depth.
        layer_scale: Initial value of the factors on both branches; None for no factors.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        hidden_dims: int,
        *,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.position: nn.Module = PlaceEmbedding(channels)
        self.norm1 = nn.LayerNorm(channels)
        self.attn = OffsetAttention(channels, num_heads, qkv_bias, attn_drop_rate, drop_rate)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = FeedForward(channels, hidden_dims, drop_rate)
        self.gamma1 = branch_scale(channels, layer_scale)
        self.gamma2 = branch_scale(channels, layer_scale)
        self.drop_path_rate = drop_path_rate

    def forward(self, carriers: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Lets the carriers of each image attend to each other.

        Args:
            carriers: (B, H, W, C).
            hidden: (H * W,) bool, carriers that no other may see; None if there are none.

        Returns:
            (B, H, W, C).
        """
        batch, height, width, channels = carriers.shape
        tokens = carriers.reshape(batch, height * width, channels)
        tokens = tokens + self.position(height, width)
        rate = self.drop_path_rate if self.training else 0.0
        masks = None if hidden is None else Masks(key_mask(hidden[None], tokens.dtype), None)
        attended = self.attn(self.norm1(tokens), (height, width, 0), masks)
        tokens, normed = add_and_norm(
            tokens, attended, self.norm2, drop_rate=rate, factors=self.gamma1
        )
        fed_forward = scaled(self.mlp(normed), self.gamma2)
        tokens = tokens + (drop_path(fed_forward, rate) if rate else fed_forward)
        return tokens.view(batch, height, width, channels)

    def propagate(self, carriers: Tensor, ct_size: int, window_size: int) -> Tensor:
        """What the carriers of a window add to its tokens at the end of a stage (FasterViT).

        Args:
            carriers: (W, ct_size**2, C) carriers of each window.
            ct_size: Side of a window's carriers.
            window_size: Side of a window in tokens.

        Returns:
            (W, window_size**2, C): the nearest carrier of every token, scaled as in attention.
        """
        side = torch.arange(window_size, device=carriers.device) * ct_size // window_size
        nearest = (side[:, None] * ct_size + side[None, :]).view(-1)
        return scaled(carriers.index_select(1, nearest), self.gamma1)

    def fix_positions(self) -> None:
        """Keeps what follows from a grid and the weights, which change no more (inference form)."""
        self.position = FixedWeights(self.position)
        self.attn.position_bias = FixedWeights(self.attn.position_bias)


class OffsetAttention(nn.Module):
    """Multi-head self-attention with a bias learned from offsets (FasterViT).

    Args:
        channels: Channels C.
        num_heads: Heads; divides `channels`.
        qkv_bias: Whether queries, keys and values have a bias.
        attn_drop_rate: Dropout of attention weights.
        proj_drop_rate: Dropout of the output.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        qkv_bias: bool = True,
        attn_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attn_drop_rate = attn_drop_rate
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.position_bias: nn.Module = OffsetBias(num_heads)
        self.proj = nn.Linear(channels, channels)
        self.proj_drop = nn.Dropout(proj_drop_rate)

    def forward(
        self,
        tokens: Tensor,
        grid: tuple[int, int, int],
        masks: Masks | None = None,
    ) -> Tensor:
        """Attends among the tokens of each group.

        Args:
            tokens: (G, N, C) normed tokens, carriers before those of the grid.
            grid: Height, width and carriers of a group, N = carriers + height * width.
            masks: Which keys groups must not see; None for none.

        Returns:
            (G, N, C).
        """
        dropout = self.attn_drop_rate if self.training else 0.0
        bias = self.position_bias(*grid)
        qkv = linear(self.qkv, tokens)
        out = attend(qkv, self.num_heads, bias, masks, dropout=dropout)
        return self.proj_drop(linear(self.proj, out))

    def weights(
        self,
        tokens: Tensor,
        grid: tuple[int, int, int],
        masks: Masks | None = None,
    ) -> Tensor:
        """The attention weights of `forward`, for images of them.

        Args:
            tokens: (G, N, C) normed tokens, as in `forward`.
            grid: Height, width and carriers of a group.
            masks: Which keys groups must not see; None for none.

        Returns:
            (G, heads, N, N), each row (a query) sums to 1.
        """
        qkv = self.qkv(tokens).view(*tokens.shape[:2], 3, self.num_heads, -1)
        query, key, _ = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        scores = scores + self.position_bias(*grid)
        if masks is not None:
            added = masks.values[:1] if masks.ids is None else masks.values[masks.ids]
            scores = scores + added[:, None]
        return scores.softmax(-1)


class CarrierUpdate:
    """A block whose windows take carriers along, as `update_windows` computes windows.

    Args:
        compute: Makes tokens and carriers of windows, their carriers, and where the windows lie.
        carriers: What the windows carry, in the form `compute` takes.
        training: Whether the block is in training.
    """

    hidden_dims = None  # carriers of all windows attend to each other

    def __init__(
        self,
        compute: Callable[[Any, Tensor | None, Windows], tuple[Tensor, Tensor | None]],
        carriers: Tensor | None,
        training: bool,
    ) -> None:
        self.compute = compute
        self.carriers = carriers
        self.training = training

    def __call__(self, own: Any, windows: Windows) -> tuple[Tensor, None]:
        """Computes windows and renews `carriers`, see `WindowBlock`."""
        own, self.carriers = self.compute(own, self.carriers, windows)
        return own, None


def carriers_of(windows: Windows, carriers: Tensor, ct_size: int) -> Tensor:
    """Takes the carriers of windows out of their map.

    Args:
        windows: W windows.
        carriers: (B, rows * ct_size, cols * ct_size, C) carriers of all windows.
        ct_size: Side of a window's carriers.

    Returns:
        (W, ct_size**2, C).
    """
    split = split_windows(carriers, ct_size)
    return split if windows.kept is None else split.index_select(0, windows.kept)


def with_carriers(carriers: Tensor, carried: Tensor, windows: Windows, ct_size: int) -> Tensor:
    """Puts the carriers of windows into their map; those of other windows stay as they are.

    Args:
        carriers: (B, rows * ct_size, cols * ct_size, C) carriers of all windows.
        carried: (W, ct_size**2, C) carriers of the windows.
        windows: W windows.
        ct_size: Side of a window's carriers.

    Returns:
        (B, rows * ct_size, cols * ct_size, C).
    """
    if windows.kept is not None:
        split = split_windows(carriers, ct_size)
        carried = split.index_copy(0, windows.kept, carried.to(split.dtype))
    return join_windows(carried, ct_size, windows.grid.rows, windows.grid.cols)


class FeedForward(nn.Module):
    """Two linear layers with GELU between.

    Args:
        channels: Channels in and out.
        hidden_dims: Channels between.
        drop_rate: Dropout after each layer.
    """

    def __init__(self, channels: int, hidden_dims: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden_dims)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dims, channels)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., channels) to (..., channels)."""
        hidden = self.drop(self.act(linear(self.fc1, tokens)))
        return self.drop(linear(self.fc2, hidden))


def branch_scale(channels: int, layer_scale: float | None) -> nn.Parameter | None:
    """A learned factor for each channel of a residual branch, or None without layer scale."""
    return None if layer_scale is None else nn.Parameter(torch.full((channels,), layer_scale))


def scaled(branch: Tensor, factors: Tensor | None) -> Tensor:
    """A residual branch (..., C) times its factors (C,), where it has some."""
    return branch if factors is None else branch * factors


def pooling_kernel(num_tokens: int, num_carriers: int) -> tuple[int, int]:
    """Kernel and stride along one axis of the authors' average pooling.

    Args:
        num_tokens: Tokens along the axis, padding included.
        num_carriers: Carriers along the axis.
    """
    stride = num_tokens // num_carriers
    return num_tokens - (num_carriers - 1) * stride, stride


def pooling_spans(
    num_tokens: int, num_carriers: int, pooling: str, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Which tokens along one axis each carrier pools.

    Args:
        num_tokens: Tokens along the axis, padding included.
        num_carriers: Carriers along the axis.
        pooling: One of `POOLINGS`.
        device: Where the result is wanted.

    Returns:
        First token of each carrier, and the one after its last: (num_carriers,) int64.
    """
    carrier = torch.arange(num_carriers, device=device)
    if pooling == 'centered':
        end = -(-(carrier + 1) * num_tokens // num_carriers)
        return carrier * num_tokens // num_carriers, end
    kernel, stride = pooling_kernel(num_tokens, num_carriers)
    return carrier * stride, carrier * stride + kernel


@cached_by_grid(maxsize=64)
def pooling_matrices(
    grid: WindowGrid, ct_size: int, pooling: str, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Pooling as matrices, one for each axis: rows @ map @ cols.T.

    Args:
        grid: The windows.
        ct_size: Side of a window's carriers.
        pooling: One of `POOLINGS`.
        device: Where the matrices are wanted.

    Returns:
        (grid.rows * ct_size, grid.height) and (grid.cols * ct_size, grid.width) float32: the mean
        over the real tokens of each carrier's span, a row of 0 where there is none.
    """

    def matrix(num_real: int, num_tokens: int, num_carriers: int) -> Tensor:
        first, end = pooling_spans(num_tokens, num_carriers, pooling, device)
        token = torch.arange(num_real, device=device)
        inside = ((token >= first[:, None]) & (token < end[:, None])).float()
        return inside / inside.sum(1, keepdim=True).clamp(min=1)

    rows, cols = _axes(grid, ct_size)
    return matrix(grid.height, *rows), matrix(grid.width, *cols)


def _axes(grid: WindowGrid, ct_size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Tokens, padding included, and carriers: of a column of the map, and of a row."""
    rows, cols = (
        (windows * grid.window_size, windows * ct_size) for windows in (grid.rows, grid.cols)
    )
    return rows, cols


def padded_carriers(
    grid: WindowGrid, ct_size: int, pooling: str, device: torch.device
) -> Tensor | None:
    """Which carriers summarize padding alone.

    Returns:
        (grid.rows * ct_size, grid.cols * ct_size) bool, or None if none does.
    """
    if not grid.is_padded:
        return None
    rows, cols = _without_tokens(grid, ct_size, pooling, device)
    return rows[:, None] | cols[None, :]


@cached_by_grid(maxsize=64)
def padded_keys(
    grid: WindowGrid, ct_size: int, pooling: str, device: torch.device
) -> tuple[Tensor, Tensor] | None:
    """Which keys the windows of a padded grid must not see: padding, and carriers of padding alone.

    There are four masks, numbered as `WindowGrid.mask_ids`: 0 inside, +1 in the last row, +2 in the
    last column.

    Args:
        grid: The windows, not shifted.
        ct_size: Side of a window's carriers; 0 for none.
        pooling: One of `POOLINGS`.
        device: Where the result is wanted.

    Returns:
        (4, ct_size**2 + window_size**2) bool, and (num_windows,) which of them every window takes;
        None if nothing is padded.
    """
    if not grid.is_padded:
        return None
    place = torch.arange(grid.window_size, device=device)
    first_row, first_col = ((lines - 1) * grid.window_size for lines in (grid.rows, grid.cols))
    tokens = _four_masks(place >= grid.height - first_row, place >= grid.width - first_col)
    carriers = tokens[:, :0]
    if ct_size:
        rows, cols = _without_tokens(grid, ct_size, pooling, device)
        carriers = _four_masks(rows[-ct_size:], cols[-ct_size:])
    last_row = torch.arange(grid.rows, device=device) == grid.rows - 1
    last_col = torch.arange(grid.cols, device=device) == grid.cols - 1
    mask_ids = last_row.long()[:, None] + 2 * last_col.long()[None, :]
    return torch.cat([carriers, tokens], dim=1), mask_ids.flatten()


def _without_tokens(
    grid: WindowGrid, ct_size: int, pooling: str, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Which rows and which columns of carriers have no real token: bool."""
    rows, cols = pooling_matrices(grid, ct_size, pooling, device)
    return rows.sum(1) == 0, cols.sum(1) == 0


def _four_masks(low: Tensor, far: Tensor) -> Tensor:
    """(4, side**2) bool: hidden places of the four masks.

    Args:
        low: (side,) rows that are hidden in windows of the last row.
        far: (side,) columns that are hidden in windows of the last column.
    """
    low, far = low[:, None].expand(-1, len(far)), far[None, :].expand(len(low), -1)
    return torch.stack([torch.zeros_like(low), low, far, low | far]).flatten(1)
