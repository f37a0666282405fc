"""Convolutions of chosen windows: each is read with a margin of its neighbors, the halo."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevit_mm.ops.backend import cached_by_grid, in_graph
from sparsevit_mm.ops.layouts import for_convolution, wants_contiguous
from sparsevit_mm.ops.windows import WindowGrid, Windows, scatter


class HaloMaps(NamedTuple):
    """Where the tokens of a grid's windows and their halos are; N = (window + 2 * halo)**2.

    Attributes:
        token_index: (num_windows, N) int64, tokens of the flattened map; outside of it, the nearest
            one inside.
        outside: (num_windows, N) bool, which tokens are outside the map.
    """

    token_index: Tensor
    outside: Tensor


@cached_by_grid(maxsize=64)
def halo_maps(grid: WindowGrid, device: torch.device, halo_rows: int, halo_cols: int) -> HaloMaps:
    """Finds windows and halos in a map.

    Args:
        grid: Windows without a shift.
        device: Where the indices are wanted.
        halo_rows: Tokens above and below a window.
        halo_cols: Tokens to the left and right of a window.
    """

    def along(windows: int, halo: int) -> Tensor:
        first = torch.arange(windows, device=device) * grid.window_size - halo
        return first[:, None] + torch.arange(grid.window_size + 2 * halo, device=device)

    row = along(grid.rows, halo_rows)[:, None, :, None]
    col = along(grid.cols, halo_cols)[None, :, None, :]
    outside = (row < 0) | (row >= grid.height) | (col < 0) | (col >= grid.width)
    index = row.clamp(0, grid.height - 1) * grid.width + col.clamp(0, grid.width - 1)
    return HaloMaps(index.flatten(2).flatten(0, 1), outside.flatten(2).flatten(0, 1))


def gather_with_halo(tokens: Tensor, windows: Windows, halo_rows: int, halo_cols: int) -> Tensor:
    """Reads windows and their halos from a map.

    Args:
        tokens: (B * H * W, C).
        windows: W windows of a grid without a shift.
        halo_rows: Tokens above and below a window.
        halo_cols: Tokens to the left and right of a window.

    Returns:
        (W, C, window + 2 * halo_rows, window + 2 * halo_cols), 0 outside the map, in the layout in
        which a convolution is fastest.
    """
    grid = windows.grid
    maps = halo_maps(grid, windows.device, halo_rows, halo_cols)
    first = windows.image_index[:, None] * (grid.height * grid.width)
    rows = windows.per_window(maps.token_index) + first
    outside = windows.per_window(maps.outside)
    height, width = (grid.window_size + 2 * halo for halo in (halo_rows, halo_cols))
    if wants_contiguous(tokens, tokens.shape[1]) and not torch.is_grad_enabled():
        return _transposed(tokens, rows, outside).unflatten(2, (height, width))
    rows, outside = rows.view(-1), outside.view(-1)
    read = tokens.index_select(0, rows)
    if read.device.type == 'cpu' and not in_graph():
        read.index_fill_(0, outside.nonzero().view(-1), 0)  # few rows, known without waiting
    else:
        read = read.masked_fill(outside[:, None], 0)
    return read.view(windows.num_windows, height, width, -1).permute(0, 3, 1, 2)


def _transposed(tokens: Tensor, rows: Tensor, outside: Tensor) -> Tensor:
    """(W, C, N) contiguous tokens of windows, read one by one: each stays in the cache."""
    read = tokens.new_empty(rows.shape[0], tokens.shape[1], rows.shape[1])
    for window, own, beyond, is_edge in zip(read, rows, outside, outside.any(1).tolist()):
        of_window = tokens.index_select(0, own)
        if is_edge:
            of_window.masked_fill_(beyond[:, None], 0)
        window.copy_(of_window.t())
    return read


def convolve_windows(
    feature_map: Tensor,
    others: Tensor,
    windows: Windows,
    weight: Tensor,
    bias: Tensor | None,
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """Convolves the chosen windows of a map, with stride 1 and as many zeros around as it takes.

    Args:
        feature_map: (B, C, H, W).
        others: (B, O, H, W) the values of all other windows; may be changed in place.
        windows: Windows of a grid of H x W tokens without a shift.
        weight: (O, C / groups, kernel height, kernel width), odd sides.
        bias: (O,) or None.
        dilation: Steps between the rows and columns of the kernel.
        groups: Groups of channels.

    Returns:
        (B, O, H, W), channels-last.
    """
    batch_size, _, height, width = feature_map.shape
    halo_rows, halo_cols = (
        step * (side - 1) // 2 for step, side in zip(dilation, weight.shape[-2:])
    )
    tokens = feature_map.permute(0, 2, 3, 1).flatten(0, 2)
    read = gather_with_halo(tokens, windows, halo_rows, halo_cols)
    own = F.conv2d(for_convolution(read), weight, bias, 1, 0, dilation, groups)
    own = own.permute(0, 2, 3, 1).contiguous()
    own = own.view(windows.num_windows, windows.num_tokens, -1)
    base = others.permute(0, 2, 3, 1).flatten(0, 2)
    written = scatter(base, own, windows)
    return written.view(batch_size, height, width, -1).permute(0, 3, 1, 2)
