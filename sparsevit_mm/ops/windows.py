"""The tokens of the windows a block computes: gathered from the stage's map, scattered back.

This is where skipped windows become skipped work. The stage keeps its tokens in one (B * H * W, C)
matrix; a block reads the rows of its windows with one gather and writes them back with one
scatter, and nothing of the size of the map is touched for a window that is pruned, forward or
backward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sparsevit_mm.ops.exporting import cached_by_grid
from sparsevit_mm.ops.window_grid import WindowGrid


@dataclass(frozen=True)
class WindowTokens:
    """Where the windows of one block lie in the stage's tokens. W windows, N tokens each.

    Attributes:
        batch_size: Images in the batch; windows are ordered image by image, equally many in each.
        rows: (W * N,) rows of the tokens; a padding token names that of its stand-in.
        stand_in: (W, N) number in its window of the token that `rows` names; None without padding.
        position: (B * H * W,) where each token lies in the windows, if all windows are computed;
            else None.
        padding: (W, N, 1) bool, padding tokens; None if there are none.
        edge_pattern: (W,) which edge mask each window needs; None without a shift.
        shape: (W, N).
        hidden: (W, N) bool, tokens that attention must not see; None if there are none.
    """

    batch_size: int
    rows: Tensor
    stand_in: Tensor | None
    position: Tensor | None
    padding: Tensor | None
    edge_pattern: Tensor | None
    shape: tuple[int, int]
    hidden: Tensor | None = None

    def parts(self, num_windows: int) -> Iterator[WindowTokens]:
        """The same windows, about so many at a time.

        Parts of a group are equally large, up to half as large again as asked for: a few windows
        left over would cost more than they compute. On a CPU, if there is more than one part,
        windows that need no mask come first and have none; elsewhere, counting them would make the
        device wait.
        """
        groups = [self]
        masked = self.padding is not None or self.edge_pattern is not None
        if masked and self.rows.device.type == 'cpu' and round(self.shape[0] / num_windows) > 1:
            groups = self._by_need_of_masks()
        for group in groups:
            total = group.shape[0]
            size = math.ceil(total / max(1, round(total / num_windows)))
            for first in range(0, total, max(1, size)):
                yield group if size == total else group.choose(slice(first, first + size))

    def choose(self, windows: slice | Tensor) -> WindowTokens:
        """Some of the windows, no longer all.

        Args:
            windows: Which of the W.
        """
        rows = self.rows.view(self.shape)[windows]
        return replace(
            self,
            rows=rows.flatten(),
            stand_in=None if self.stand_in is None else self.stand_in[windows],
            position=None,
            padding=None if self.padding is None else self.padding[windows],
            edge_pattern=None if self.edge_pattern is None else self.edge_pattern[windows],
            shape=(rows.shape[0], rows.shape[1]),
        )

    def _by_need_of_masks(self) -> list[WindowTokens]:
        needs = torch.zeros(self.shape[0], dtype=torch.bool)
        if self.padding is not None:
            needs |= self.padding.flatten(1).any(1)
        if self.edge_pattern is not None:
            needs |= self.edge_pattern != 0
        inside = self.choose((~needs).nonzero().flatten())
        inside = replace(inside, stand_in=None, padding=None, edge_pattern=None)
        return [inside, self.choose(needs.nonzero().flatten())]


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
    if kept is None:
        return _locate_all(grid, batch_size, device)
    padding, stand_in = grid.padding(device), grid.stand_in(device)
    index = grid.token_index(device)[kept]
    first_row = torch.arange(batch_size, device=device) * (grid.height * grid.width)
    return WindowTokens(
        batch_size=batch_size,
        rows=(index + first_row[:, None, None]).view(-1),
        stand_in=None if stand_in is None else stand_in[kept].flatten(0, 1),
        position=None,
        padding=None if padding is None else padding[kept].flatten(0, 1)[..., None],
        edge_pattern=window_kinds(grid, batch_size, kept, device),
        shape=(batch_size * kept.shape[1], index.shape[2]),
    )


@cached_by_grid(maxsize=32)
def _locate_all(grid: WindowGrid, batch_size: int, device: torch.device) -> WindowTokens:
    index, position = grid.token_index(device), grid.window_position(device)
    padding, stand_in = grid.padding(device), grid.stand_in(device)
    image = torch.arange(batch_size, device=device)
    first_row, first_position = image * (grid.height * grid.width), image * index.numel()
    return WindowTokens(
        batch_size=batch_size,
        rows=(index[None] + first_row[:, None, None]).view(-1),
        stand_in=None if stand_in is None else stand_in.repeat(batch_size, 1),
        position=(position[None] + first_position[:, None]).view(-1),
        padding=None if padding is None else padding.repeat(batch_size, 1)[..., None],
        edge_pattern=window_kinds(grid, batch_size, None, device),
        shape=(batch_size * grid.num_windows, index.shape[1]),
    )


def window_kinds(
    grid: WindowGrid, batch_size: int, kept: Tensor | None, device: torch.device
) -> Tensor | None:
    """Which edge mask every window of a block needs, see `WindowGrid.edge_pattern`.

    Args:
        grid: As in `locate_windows`, like the other arguments.
        batch_size: See there.
        kept: See there.
        device: See there.

    Returns:
        (W,) int64, or None without a shift.
    """
    pattern = grid.edge_pattern(device)
    if pattern is None:
        return None
    return pattern.repeat(batch_size) if kept is None else pattern[kept].flatten()


def gather_windows(tokens: Tensor, where: WindowTokens) -> Tensor:
    """Reads the windows a block computes.

    Args:
        tokens: (B * H * W, C) the stage's tokens.
        where: The block's windows.

    Returns:
        (W, N, C) windows; padding tokens are 0.
    """
    windows = tokens.index_select(0, where.rows).view(*where.shape, -1)
    return windows if where.padding is None else windows.masked_fill_(where.padding, 0)


def scatter_windows(tokens: Tensor, windows: Tensor, where: WindowTokens) -> Tensor:
    """Writes computed windows back; pruned windows keep their tokens.

    Args:
        tokens: (B * H * W, C) the stage's tokens; changed in place if windows were pruned.
        windows: (W, N, C) computed windows.
        where: The block's windows.

    Returns:
        (B * H * W, C) the stage's tokens after the block.
    """
    windows = windows.to(tokens.dtype)
    if where.position is not None:
        return windows.view(-1, windows.shape[-1]).index_select(0, where.position)
    return tokens.index_copy_(0, where.rows, _rows_to_write(windows, where))


def _rows_to_write(windows: Tensor, where: WindowTokens) -> Tensor:
    """(W * N, C) what goes to `where.rows`: padding has the value, not the gradient, of a token."""
    rows = windows.view(-1, windows.shape[-1])
    if where.stand_in is None or where.padding is None:
        return rows
    first = torch.arange(where.shape[0], device=rows.device) * where.shape[1]
    repeated = rows.detach().index_select(0, (where.stand_in + first[:, None]).view(-1))
    return (
        torch.where(where.padding.view(-1, 1), repeated, rows) if rows.requires_grad else repeated
    )


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
        target: (B * H * W, C) what is written to, in place; may be `tokens`.
        tokens: (B * H * W, C) the stage's tokens.
        where: The windows.
        compute: Makes (W, N, C) of (W, N, C) windows and where they lie.
        num_windows: About how many windows at a time.

    Returns:
        `target`.
    """
    for part in where.parts(num_windows):
        target = scatter_windows(target, compute(gather_windows(tokens, part), part), part)
    return target


class WindowUpdate:
    """Gather, compute and scatter of one block in training, with the gradient of the map in place.

    Autograd would copy the gradient of the whole map for every scatter, make one of zeros for every
    gather and add the two. Here the scatter hands the map's gradient to the gather, which writes
    the rows of its windows into it; those of other windows stay as they are.

    Args:
        where: The block's windows.
        is_last: Whether the map goes on to something other than another update, whose gradient
            must not be written to.
    """

    def __init__(self, where: WindowTokens, is_last: bool) -> None:
        self.where = where
        self.is_last = is_last
        self.gradient: Tensor | None = None

    def gather(self, tokens: Tensor) -> Tensor:
        """See `gather_windows`."""
        windows: Tensor = _Gather.apply(tokens, self)
        return windows

    def scatter(self, tokens: Tensor, windows: Tensor) -> Tensor:
        """See `scatter_windows`; `tokens` are those of `gather`."""
        after: Tensor = _Scatter.apply(windows, self, tokens.detach())
        return after


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, update: WindowUpdate) -> Tensor:
        ctx.update = update
        return gather_windows(tokens, update.where)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, windows: Tensor) -> tuple[Tensor, None]:
        update: WindowUpdate = ctx.update
        where, tokens = update.where, update.gradient
        update.gradient = None
        if where.position is None:
            assert tokens is not None
        else:
            tokens = windows
        return scatter_windows(tokens, windows, where), None


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, windows: Tensor, update: WindowUpdate, tokens: Tensor) -> Tensor:
        ctx.update = update
        ctx.dtype = windows.dtype
        return scatter_windows(tokens, windows, update.where)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, tokens: Tensor) -> tuple[Tensor, None, None]:
        update: WindowUpdate = ctx.update
        if update.where.position is None:
            update.gradient = tokens.clone() if update.is_last else tokens
        return gather_windows(tokens, update.where).to(ctx.dtype), None, None
