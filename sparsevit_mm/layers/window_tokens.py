"""The tokens of the windows a block computes: gathered from the stage's map, scattered back.

This is where skipped windows become skipped work. The stage keeps its tokens in one (B * H * W, C)
matrix; a block reads the rows of its windows with one gather and writes them back with one
scatter, and nothing of the size of the map is touched for a window that is pruned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sparsevit_mm.layers.window_grid import WindowGrid


@dataclass(frozen=True)
class WindowTokens:
    """Where the windows of one block lie in the stage's tokens. W windows, N tokens each.

    Attributes:
        batch_size: Images in the batch; windows are ordered image by image, equally many in each.
        read: (W * N,) rows to gather.
        write: (W * N,) rows to scatter to, padding going to a spare last row; None if all windows
            are computed.
        position: (B * H * W,) where each token lies in the windows, if all windows are computed;
            else None.
        padding: (W, N, 1) bool, padding tokens; None if there are none.
        edge_pattern: (W,) which edge mask each window needs; None without a shift.
        shape: (W, N).
        num_map_tokens: Rows of the map, B * H * W.
    """

    batch_size: int
    read: Tensor
    write: Tensor | None
    position: Tensor | None
    padding: Tensor | None
    edge_pattern: Tensor | None
    shape: tuple[int, int]
    num_map_tokens: int

    def parts(self, num_windows: int) -> Iterator[WindowTokens]:
        """The same windows, at most so many at a time, each part with rows to write."""
        for first in range(0, self.shape[0], num_windows):
            yield self.part(first, min(num_windows, self.shape[0] - first))

    def part(self, first: int, count: int) -> WindowTokens:
        """Some of the windows, with rows to write.

        Args:
            first: The first of them.
            count: How many.
        """
        windows = slice(first, first + count)
        rows = slice(first * self.shape[1], (first + count) * self.shape[1])
        return replace(
            self,
            read=self.read[rows],
            write=self._rows_to_write()[rows],
            position=None,
            padding=None if self.padding is None else self.padding[windows],
            edge_pattern=None if self.edge_pattern is None else self.edge_pattern[windows],
            shape=(count, self.shape[1]),
        )

    def _rows_to_write(self) -> Tensor:
        if self.write is not None:
            return self.write
        return _without_padding(self.read, self.padding, self.num_map_tokens)


def locate_windows(
    grid: WindowGrid, batch_size: int, kept: Tensor | None, device: torch.device
) -> WindowTokens:
    """Finds the tokens of the windows that a block computes.

    Args:
        grid: The block's windows.
        batch_size: Images in the batch.
        kept: (B, K) numbers of the windows to compute, or None for all.
        device: Where the tokens live.
    """
    index, padding, pattern = (
        grid.token_index(device),
        grid.padding(device),
        grid.edge_pattern(device),
    )
    num_tokens = grid.height * grid.width
    first_row = torch.arange(batch_size, device=device) * num_tokens
    if kept is None:
        read = (index[None] + first_row[:, None, None]).view(-1)
        first_position = torch.arange(batch_size, device=device) * index.numel()
        position = (grid.window_position(device)[None] + first_position[:, None]).view(-1)
        write = None
        padding = None if padding is None else padding.repeat(batch_size, 1)
        pattern = None if pattern is None else pattern.repeat(batch_size)
    else:
        read = (index[kept] + first_row[:, None, None]).view(-1)
        position = None
        padding = None if padding is None else padding[kept].flatten(0, 1)
        pattern = None if pattern is None else pattern[kept].flatten()
        write = _without_padding(read, padding, batch_size * num_tokens)
    return WindowTokens(
        batch_size=batch_size,
        read=read,
        write=write,
        position=position,
        padding=None if padding is None else padding[..., None],
        edge_pattern=pattern,
        shape=(read.numel() // index.shape[1], index.shape[1]),
        num_map_tokens=batch_size * num_tokens,
    )


def _without_padding(read: Tensor, padding: Tensor | None, spare_row: int) -> Tensor:
    return read if padding is None else read.masked_fill(padding.flatten(), spare_row)


def gather_windows(tokens: Tensor, where: WindowTokens) -> Tensor:
    """Reads the windows a block computes.

    Args:
        tokens: (>= B * H * W, C) the stage's tokens.
        where: The block's windows.

    Returns:
        (W, N, C) windows; padding tokens are 0.
    """
    windows = tokens.index_select(0, where.read).view(*where.shape, -1)
    if where.padding is not None:
        windows = windows.masked_fill(where.padding, 0)
    return windows


def scatter_windows(tokens: Tensor, windows: Tensor, where: WindowTokens) -> Tensor:
    """Writes computed windows back; pruned windows keep their tokens.

    Args:
        tokens: (B * H * W, C) the stage's tokens, or one row more; changed in place if windows were
            pruned.
        windows: (W, N, C) computed windows.
        where: The block's windows.

    Returns:
        The stage's tokens after the block; one row longer than the map once a padded grid was
        pruned, a row that takes what was computed for padding tokens.
    """
    rows = windows.view(-1, windows.shape[-1]).to(tokens.dtype)
    if where.write is None:
        assert where.position is not None
        return rows.index_select(0, where.position)
    if where.padding is not None and tokens.shape[0] == where.num_map_tokens:
        tokens = torch.cat([tokens, tokens.new_zeros(1, tokens.shape[1])])
    return tokens.index_copy_(0, where.write, rows)


def update_windows(
    target: Tensor,
    tokens: Tensor,
    where: WindowTokens,
    compute: Callable[[Tensor, WindowTokens], Tensor],
    num_windows: int,
) -> Tensor:
    """Computes windows part by part, each written back before the next is read.

    No token lies in two windows, so the parts do not see each other. Beside the map only one part
    is in memory, and on a CPU it stays in the cache from one layer to the next.

    Args:
        target: (B * H * W, C), or one row more: what is written to, in place; may be `tokens`.
        tokens: (>= B * H * W, C) the stage's tokens.
        where: The windows.
        compute: Makes (W, N, C) of (W, N, C) windows and where they lie.
        num_windows: How many windows at a time.

    Returns:
        As `scatter_windows`.
    """
    for part in where.parts(num_windows):
        target = scatter_windows(target, compute(gather_windows(tokens, part), part), part)
    return target
