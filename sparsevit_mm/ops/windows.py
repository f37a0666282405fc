"""Windows of a feature map: where they lie, reading them, writing them back.

A stage keeps its tokens in one (B * H * W, C) matrix. A block reads the rows of its windows and
writes them back, and nothing of the size of the map is touched for a window that is skipped,
forward or backward (SparseViT, window activation pruning).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from sparsevit_mm.ops.backend import cached_by_grid, chunk_bytes, in_graph, is_certain, use_triton

_CPU_BYTES, _OTHER_BYTES = 4 * 2**20, 256 * 2**20
"""Largest activation of a chunk: for each thread of a CPU what a core's cache holds, elsewhere to
save memory."""


@dataclass(frozen=True)
class WindowGrid:
    """The windows over one feature map.

    Swin pads the map on the right and bottom to a multiple of the window, rolls it up and left by
    the shift, and cuts it into windows. No data is moved for that: index maps say where in the
    unpadded map the tokens of every window lie. They are computed once for a grid and device.

    Attributes:
        height: Height of the map in tokens.
        width: Width of the map in tokens.
        window_size: Side of a window in tokens.
        shift: Cyclic shift of the grid in tokens, 0 for the plain one.
        is_split: Whether the tokens are stored window by window, padding included, as
            `split_windows` stores them, and not row by row. Such a grid has no shift.
        rows: Windows from top to bottom.
        cols: Windows from left to right.
        num_windows: Windows in the grid.
        map_tokens: Tokens of the map as they are stored, padding included if they are split.
        is_padded: Whether the last row or column of windows reaches beyond the map, or may do so.
    """

    height: int
    width: int
    window_size: int
    shift: int = 0
    is_split: bool = False
    rows: int = field(init=False, compare=False, repr=False)
    cols: int = field(init=False, compare=False, repr=False)
    num_windows: int = field(init=False, compare=False, repr=False)
    map_tokens: int = field(init=False, compare=False, repr=False)
    is_padded: bool = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        size = self.window_size
        rows, cols = (self.height + size - 1) // size, (self.width + size - 1) // size
        padded, real = rows * cols * size**2, self.height * self.width
        derived = {
            'rows': rows,
            'cols': cols,
            'num_windows': rows * cols,
            'map_tokens': padded if self.is_split else real,
            'is_padded': not is_certain(padded == real),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)


class IndexMaps(NamedTuple):
    """Where the tokens of a grid's windows lie in its map; N = window_size**2.

    Attributes:
        token_index: (num_windows, N) int64, tokens of the flattened map; a padding token names a
            real one of its window.
        padding: (num_windows, N) bool, which tokens are padding; None if none is.
        pad_source: (num_windows, N) int64, which token of its window is written to where
            `token_index` says: a token itself, and for padding a real token; None without padding.
        inverse_index: (height * width,) int64, where every token of the map lies in the flattened
            windows.
        mask_ids: (num_windows,) int64, which of the `edge_masks` a window needs: 0 inside, +1 in
            the last row, +2 in the last column. A shifted window there joins tokens from opposite
            sides of the map, which must not see each other. None without a shift.
    """

    token_index: Tensor
    padding: Tensor | None
    pad_source: Tensor | None
    inverse_index: Tensor
    mask_ids: Tensor | None


@cached_by_grid(maxsize=128)
def index_maps(grid: WindowGrid, device: torch.device) -> IndexMaps:
    """The index maps of a grid.

    Args:
        grid: The grid.
        device: Where they are wanted.
    """
    size = grid.window_size
    # Row r of the rolled, padded map was row (r + shift) mod rows of the padded one.
    row = (torch.arange(grid.rows * size, device=device) + grid.shift) % (grid.rows * size)
    col = (torch.arange(grid.cols * size, device=device) + grid.shift) % (grid.cols * size)

    def windows(full_map: Tensor) -> Tensor:
        split = full_map.view(grid.rows, size, grid.cols, size)
        return split.transpose(1, 2).reshape(grid.num_windows, size * size)

    token_index = windows(row[:, None] * grid.width + col[None, :])
    padding = windows((row >= grid.height)[:, None] | (col >= grid.width)[None, :])
    own = torch.arange(size * size, device=device).expand(grid.num_windows, -1)
    first_real = padding.long().argmin(1, keepdim=True)
    pad_source = torch.where(padding, first_real, own)

    def place(side: int, windows_a_side: int) -> tuple[Tensor, Tensor]:
        rolled = torch.arange(side, device=device) - grid.shift
        # Not a remainder: Inductor loses its bounds, and its indexing fails on half of them.
        rolled = torch.where(rolled < 0, rolled + windows_a_side * size, rolled)
        return rolled // size, rolled % size

    (row, in_row), (col, in_col) = place(grid.height, grid.rows), place(grid.width, grid.cols)
    inverse = (row[:, None] * grid.cols + col[None, :]) * size**2
    inverse = inverse + in_row[:, None] * size + in_col[None, :]
    last_row = torch.arange(grid.rows, device=device) == grid.rows - 1
    last_col = torch.arange(grid.cols, device=device) == grid.cols - 1
    mask_ids = (last_row.long()[:, None] + 2 * last_col.long()[None, :]).flatten()
    return IndexMaps(
        token_index.gather(1, pad_source),
        padding if grid.is_padded else None,
        pad_source if grid.is_padded else None,
        inverse.flatten(),
        mask_ids if grid.shift else None,
    )


class WindowMaps(NamedTuple):
    """Where the tokens of chosen windows lie in the map of a whole batch.

    Attributes:
        rows: (W * N,) int64 rows of the map; a padding token names a real one of its window.
        padding: (W, N, 1) bool, which tokens are padding; None if none is.
        pad_source: (W, N) int64, see `IndexMaps`.
    """

    rows: Tensor
    padding: Tensor | None
    pad_source: Tensor | None


@dataclass
class Windows:
    """The windows that one block computes: W windows of N tokens each, in a batch of B images.

    Attributes:
        grid: The grid they belong to.
        batch_size: Images B.
        kept: (W,) int64 indices of the windows over the whole batch, image * grid.num_windows +
            window; None for all of them in order.
        device: Where the tokens live.
        num_windows: Windows W.
        num_tokens: Tokens N of a window.
        is_interior: Whether none of them is known to need padding or a mask.
    """

    grid: WindowGrid
    batch_size: int
    kept: Tensor | None
    device: torch.device
    num_windows: int
    num_tokens: int
    is_interior: bool = False
    _maps: WindowMaps | None = None

    @classmethod
    def locate(
        cls,
        grid: WindowGrid,
        batch_size: int,
        kept: Tensor | None,
        device: torch.device,
        is_interior: bool = False,
    ) -> Windows:
        """Finds the windows that a block computes; the arguments are explained above."""
        num_windows = batch_size * grid.num_windows if kept is None else kept.shape[0]
        return cls(grid, batch_size, kept, device, num_windows, grid.window_size**2, is_interior)

    @property
    def maps(self) -> WindowMaps:
        """Where their tokens lie; made when first asked for, as kernels do without."""
        if self._maps is None:
            grid_maps = index_maps(self.grid, self.device)
            if self.kept is None:
                rows = _all_rows(self.grid, self.batch_size, self.device)
            else:
                num_map_tokens = self.grid.height * self.grid.width
                first = self.kept // self.grid.num_windows * num_map_tokens
                rows = (self.per_window(grid_maps.token_index) + first[:, None]).view(-1)
            padding = source = None
            if not (self.is_interior or grid_maps.padding is None or grid_maps.pad_source is None):
                padding = self.per_window(grid_maps.padding)[..., None]
                source = self.per_window(grid_maps.pad_source)
            self._maps = WindowMaps(rows, padding, source)
        return self._maps

    @property
    def image_index(self) -> Tensor:
        """(W,) the image each window belongs to."""
        if self.kept is not None:
            return self.kept // self.grid.num_windows
        images = torch.arange(self.batch_size, device=self.device)
        return images.repeat_interleave(self.grid.num_windows)

    def per_window(self, values: Tensor) -> Tensor:
        """Takes the values of these windows.

        Args:
            values: (grid.num_windows, ...), the same for every image.

        Returns:
            (W, ...).
        """
        if self.kept is None:
            return values.repeat(self.batch_size, *[1] * (values.ndim - 1))
        return values.index_select(0, self.kept % self.grid.num_windows)

    def chunks(self, chunk_size: int | None) -> Iterator[Windows]:
        """The same windows, `chunk_size` at a time.

        Chunks have equal size (up to 1.5 x `chunk_size`): a small remainder costs more overhead
        than work. On a CPU, windows that need no mask come first and have none; elsewhere, counting
        them would make the device wait.

        Args:
            chunk_size: About how many windows a chunk has; None for all at once.
        """
        if chunk_size is None or round(self.num_windows / chunk_size) <= 1:
            yield self
            return
        kept = self.kept
        if kept is None:
            kept = _all_windows(self.grid, self.batch_size, self.device)
        groups = [(kept, False)]
        if self.device.type == 'cpu':
            edge = _edge_windows(self.grid, self.batch_size, self.device)
            if edge is not None:
                on_edge = edge.index_select(0, kept)
                groups = [(kept[~on_edge], True), (kept[on_edge], False)]
        for group, is_interior in groups:
            size = math.ceil(len(group) / max(1, round(len(group) / chunk_size)))
            for first in range(0, len(group), max(1, size)):
                chunk = group[first : first + size]
                yield self.locate(self.grid, self.batch_size, chunk, self.device, is_interior)


@cached_by_grid(maxsize=32)
def _all_rows(grid: WindowGrid, batch_size: int, device: torch.device) -> Tensor:
    """(B * grid.num_windows * N,) rows of the tokens of all windows."""
    first_row = torch.arange(batch_size, device=device) * (grid.height * grid.width)
    return (index_maps(grid, device).token_index[None] + first_row[:, None, None]).view(-1)


@cached_by_grid(maxsize=32)
def _all_inverse(grid: WindowGrid, batch_size: int, device: torch.device) -> Tensor:
    """(B * H * W,) where each token lies in all windows of a batch."""
    first = torch.arange(batch_size, device=device) * (grid.num_windows * grid.window_size**2)
    return (index_maps(grid, device).inverse_index[None] + first[:, None]).view(-1)


@cached_by_grid(maxsize=32)
def _all_windows(grid: WindowGrid, batch_size: int, device: torch.device) -> Tensor:
    """(B * grid.num_windows,) indices of all windows of a batch."""
    return torch.arange(batch_size * grid.num_windows, device=device)


@cached_by_grid(maxsize=32)
def _edge_windows(grid: WindowGrid, batch_size: int, device: torch.device) -> Tensor | None:
    """(B * grid.num_windows,) bool: which windows need padding or a mask; None if none does."""
    maps = index_maps(grid, device)
    if maps.padding is None and maps.mask_ids is None:
        return None
    edge = torch.zeros(grid.num_windows, dtype=torch.bool, device=device)
    if maps.padding is not None:
        edge |= maps.padding.any(1)
    if maps.mask_ids is not None:
        edge |= maps.mask_ids != 0
    return edge.repeat(batch_size)


class MapWindows(NamedTuple):
    """Windows that are still in their map: a kernel reads them there when it needs them."""

    tokens: Tensor
    windows: Windows

    def read(self) -> Tensor:
        """The (W, N, C) tokens of the windows."""
        return gather(self.tokens, self.windows)


def gather(tokens: Tensor, windows: Windows) -> Tensor:
    """Reads windows from a map.

    Args:
        tokens: (B * H * W, C) the stage's tokens; those of a split grid include its padding.
        windows: W windows of N tokens.

    Returns:
        (W, N, C), padding 0; that of a split grid as it is stored.
    """
    if windows.grid.is_split:
        split = tokens.view(-1, windows.num_tokens, tokens.shape[-1])
        return split if windows.kept is None else split.index_select(0, windows.kept)
    own = tokens.index_select(0, windows.maps.rows)
    own = own.view(windows.num_windows, windows.num_tokens, -1)
    padding = windows.maps.padding
    return own if padding is None else own.masked_fill_(padding, 0)


def scatter(base: Tensor, own: Tensor, windows: Windows) -> Tensor:
    """Writes windows over a map.

    Args:
        base: (B * H * W, C) what windows that were not computed keep; changed in place unless all
            were computed, or a split grid has gradients.
        own: (W, N, C) computed windows.
        windows: Where they lie.

    Returns:
        (B * H * W, C).
    """
    own = own.to(base.dtype)
    if windows.grid.is_split:
        if windows.kept is None:
            return own.reshape(base.shape)
        split = base.view(-1, *own.shape[1:])
        if torch.is_grad_enabled():  # the map may be needed as it was for a gradient
            return split.index_copy(0, windows.kept, own).view(base.shape)
        split.index_copy_(0, windows.kept, own)
        return base
    rows = own.view(-1, own.shape[-1])
    if windows.kept is None:
        inverse = _all_inverse(windows.grid, windows.batch_size, windows.device)
        return rows.index_select(0, inverse)
    _, padding, source = windows.maps
    if source is not None and padding is not None:
        # Padding writes the value, not the gradient, of the token that lies there.
        first = torch.arange(windows.num_windows, device=rows.device) * windows.num_tokens
        repeated = rows.detach().index_select(0, (source + first[:, None]).view(-1))
        rows = torch.where(padding.view(-1, 1), repeated, rows) if rows.requires_grad else repeated
    return base.index_copy_(0, windows.maps.rows, rows)


def scatter_add(base: Tensor, own: Tensor, branch: Tensor | None, windows: Windows) -> Tensor:
    """Writes the sum of computed windows and their last branch over a map, see `scatter`.

    Args:
        base: (B * H * W, C) what windows that were not computed keep.
        own: (W, N, C) computed windows.
        branch: (W, N, C) what is added to them while they are written; None for nothing.
        windows: Where they lie.

    Returns:
        (B * H * W, C).
    """
    if branch is not None and use_triton(base) and not windows.grid.is_split:
        from sparsevit_mm.ops.triton.residual_scatter import residual_scatter_

        base = base.contiguous()
        residual_scatter_(base, own, branch, windows)
        return base
    return scatter(base, own if branch is None else own + branch, windows)


class WindowBlock(Protocol):
    """What `update_windows` computes windows with."""

    @property
    def hidden_dims(self) -> int | None:
        """Most channels that a token has inside; None if all windows are needed at once."""

    @property
    def training(self) -> bool:
        """Whether the block is in training."""

    def __call__(self, own: Any, windows: Windows) -> tuple[Tensor, Tensor | None]:
        """Computes windows.

        Args:
            own: (W, N, C) their tokens, or `MapWindows`.
            windows: Where they lie.

        Returns:
            (W, N, C) tokens, and the last branch that is still to be added to them, or None.
        """


def update_windows(base: Tensor, tokens: Tensor, windows: Windows, block: WindowBlock) -> Tensor:
    """Gathers windows, computes them, and scatters them over what the others keep.

    With gradients, the gradient of the map is kept in place, see `InPlaceGradient`. In inference,
    windows are computed chunk by chunk: no token lies in two windows, so chunks do not see each
    other; beside the map only one chunk is in memory, and on a CPU it stays in the cache from one
    layer to the next.

    Args:
        base: (B * H * W, C) what windows that are not computed keep; usually `tokens`.
        tokens: (B * H * W, C) the stage's tokens; may be changed in place.
        windows: The windows to compute.
        block: Computes them.

    Returns:
        (B * H * W, C).
    """
    # Whoever makes a graph arranges the work by itself.
    is_graph, is_split = in_graph(), windows.grid.is_split
    if torch.is_grad_enabled() and base is tokens and not (is_split or is_graph):
        update = InPlaceGradient(windows)
        own, branch = block(update.gather(tokens), windows)
        return update.scatter(tokens, own if branch is None else own + branch)
    chunk_size = None
    # Stochastic depth needs the windows of an image together, even without gradients.
    if not (is_graph or torch.is_grad_enabled() or block.training or block.hidden_dims is None):
        window_bytes = windows.num_tokens * block.hidden_dims * tokens.element_size()
        on_cpu = tokens.device.type == 'cpu'
        most_bytes = chunk_bytes(_CPU_BYTES) if on_cpu else _OTHER_BYTES
        chunk_size = max(1, most_bytes // window_bytes)
    for chunk in windows.chunks(chunk_size):
        if use_triton(tokens) and not is_split:
            own, branch = block(MapWindows(tokens.contiguous(), chunk), chunk)
        else:
            own, branch = block(gather(tokens, chunk), chunk)
        base = scatter_add(base, own, branch, chunk)
    return base


class InPlaceGradient:
    """Gather and scatter of one block in training, with the gradient of the map in place.

    Autograd would copy the gradient of the whole map for every scatter, make one of zeros for every
    gather and add the two. Here the scatter hands the map's gradient to the gather, which writes
    the rows of its windows into it; those of other windows stay as they are.

    Args:
        windows: The block's windows.
    """

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self.gradient: Tensor | None = None
        self.handed_on: int | None = None

    def gather(self, tokens: Tensor) -> Tensor:
        """See `gather`."""
        own: Tensor = _Gather.apply(tokens, self, getattr(tokens.grad_fn, 'update', None))
        return own

    def scatter(self, tokens: Tensor, own: Tensor) -> Tensor:
        """See `scatter`; `tokens` are those of `gather`."""
        after: Tensor = _Scatter.apply(own, self, tokens.detach())
        return after


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, tokens: Tensor, update: InPlaceGradient, before: InPlaceGradient | None
    ) -> Tensor:
        ctx.update, ctx.before = update, before
        return gather(tokens, update.windows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, own: Tensor) -> tuple[Tensor, None, None]:
        update: InPlaceGradient = ctx.update
        tokens, update.gradient = update.gradient, None
        gradient = scatter(own if tokens is None else tokens, own, update.windows)
        if ctx.before is not None:
            ctx.before.handed_on = gradient.data_ptr()
        return gradient, None, None


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, update: InPlaceGradient, tokens: Tensor) -> Tensor:
        ctx.update = update
        ctx.dtype = own.dtype
        return scatter(tokens, own, update.windows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, tokens: Tensor) -> tuple[Tensor, None, None]:
        update: InPlaceGradient = ctx.update
        if update.windows.kept is not None:
            # Written to in place only if the next update made it, and nobody else has it.
            is_own = tokens.data_ptr() == update.handed_on
            update.gradient, update.handed_on = tokens if is_own else tokens.clone(), None
        return gather(tokens, update.windows).to(ctx.dtype), None, None


def pad_to_windows(feature_map: Tensor, window_size: int) -> Tensor:
    """Zero-pads on the right and bottom to a multiple of the window.

    Args:
        feature_map: (B, H, W, C).
        window_size: Side of a window in tokens.

    Returns:
        (B, H', W', C); `feature_map` itself where nothing is missing.
    """
    sides = feature_map.shape[1:3]
    full = ((side + window_size - 1) // window_size * window_size for side in sides)
    bottom, right = (whole - side for whole, side in zip(full, sides))
    if is_certain(bottom == 0) and is_certain(right == 0):
        return feature_map
    return F.pad(feature_map, (0, 0, 0, right, 0, bottom))


def split_windows(feature_map: Tensor, window_size: int) -> Tensor:
    """Cuts a map into windows.

    Args:
        feature_map: (B, H, W, C), sides multiples of the window.
        window_size: Side of a window in tokens.

    Returns:
        (B * windows, window_size**2, C), windows row by row, raster order inside each.
    """
    batch, height, width, channels = feature_map.shape
    rows, cols = height // window_size, width // window_size
    windows = feature_map.view(batch, rows, window_size, cols, window_size, channels)
    return windows.transpose(2, 3).reshape(-1, window_size**2, channels)


def join_windows(windows: Tensor, window_size: int, rows: int, cols: int) -> Tensor:
    """The inverse of `split_windows`.

    Args:
        windows: (B * rows * cols, window_size**2, C).
        window_size: Side of a window in tokens.
        rows: Windows from top to bottom.
        cols: Windows from left to right.

    Returns:
        (B, rows * window_size, cols * window_size, C).
    """
    split = windows.view(-1, rows, cols, window_size, window_size, windows.shape[-1])
    return split.transpose(2, 3).reshape(
        -1, rows * window_size, cols * window_size, split.shape[-1]
    )
