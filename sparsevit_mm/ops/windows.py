"""Windows of a feature map: where they lie, reading them, writing them back.

A stage keeps its tokens in one (B * H * W, C) matrix. A block reads the rows of its windows and
writes them back, and nothing of the size of the map is touched for a window that is skipped,
forward or backward (SparseViT, window activation pruning).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from sparsevit_mm.ops.backend import cached_by_grid, in_graph, is_certain, use_triton

_CPU_BYTES, _OTHER_BYTES = 4 * 2**20, 256 * 2**20
"""Largest activation of a chunk: on a CPU what a core's cache holds, elsewhere to save memory."""


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
    """

    height: int
    width: int
    window_size: int
    shift: int = 0
    is_split: bool = False

    @property
    def rows(self) -> int:
        """Windows from top to bottom."""
        return (self.height + self.window_size - 1) // self.window_size

    @property
    def cols(self) -> int:
        """Windows from left to right."""
        return (self.width + self.window_size - 1) // self.window_size

    @property
    def num_windows(self) -> int:
        """Windows in the grid."""
        return self.rows * self.cols

    @property
    def is_padded(self) -> bool:
        """Whether the last row or column of windows reaches beyond the map, or may do so."""
        return not is_certain(self.num_windows * self.window_size**2 == self.height * self.width)

    def token_index(self, device: torch.device) -> Tensor:
        """Where the tokens of every window lie in the flattened map.

        Returns:
            (num_windows, window_size**2) int64; a padding token names a real one of its window, see
            `padding` and `pad_source`.
        """
        return _index_maps(self, device).token_index

    def padding(self, device: torch.device) -> Tensor | None:
        """Which tokens of every window are padding.

        Returns:
            (num_windows, window_size**2) bool, or None if no token is.
        """
        return _index_maps(self, device).padding if self.is_padded else None

    def pad_source(self, device: torch.device) -> Tensor | None:
        """Which token of a window is written to where `token_index` says, for every token.

        Returns:
            (num_windows, window_size**2) int64 indices in the window: a token itself, and for
            padding a real token; None if there is no padding.
        """
        return _index_maps(self, device).pad_source if self.is_padded else None

    def inverse_index(self, device: torch.device) -> Tensor:
        """The inverse of `token_index`: where every token lies in the flattened windows.

        Returns:
            (height * width,) int64 indices in num_windows * window_size**2.
        """
        return _index_maps(self, device).inverse_index

    def mask_ids(self, device: torch.device) -> Tensor | None:
        """Which of the `edge_masks` every window needs.

        A shifted window in the last row or column joins tokens from opposite sides of the map,
        which must not see each other.

        Returns:
            (num_windows,) int64: 0 inside, +1 in the last row, +2 in the last column; None without
            a shift.
        """
        return _index_maps(self, device).mask_ids if self.shift else None


class _IndexMaps(NamedTuple):
    """What the methods of `WindowGrid` return."""

    token_index: Tensor
    padding: Tensor
    pad_source: Tensor
    inverse_index: Tensor
    mask_ids: Tensor


@cached_by_grid(maxsize=128)
def _index_maps(grid: WindowGrid, device: torch.device) -> _IndexMaps:
    size = grid.window_size
    # Row r of the rolled, padded map was row (r + shift) mod rows of the padded one.
    row = (torch.arange(grid.rows * size, device=device) + grid.shift) % (grid.rows * size)
    col = (torch.arange(grid.cols * size, device=device) + grid.shift) % (grid.cols * size)

    def windows(full_map: Tensor) -> Tensor:
        split = full_map.view(grid.rows, size, grid.cols, size)
        return split.transpose(1, 2).reshape(grid.num_windows, size * size)

    index = windows(row[:, None] * grid.width + col[None, :])
    padding = windows((row >= grid.height)[:, None] | (col >= grid.width)[None, :])
    own = torch.arange(size * size, device=device).expand(grid.num_windows, -1)
    first_real = padding.long().argmin(1, keepdim=True)
    pad_source = torch.where(padding, first_real, own)
    index = index.gather(1, pad_source)

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
    return _IndexMaps(index, padding, pad_source, inverse.flatten(), mask_ids)


class Windows:
    """The windows that one block computes: W windows of N tokens each, in a batch of B images.

    What follows from them is made when it is first asked for: kernels ask for little of it.

    Attributes:
        grid: The grid they belong to.
        batch_size: Images B.
        kept: (W,) int64 indices of the windows over the whole batch, image * grid.num_windows +
            window; None for all of them in order.
        device: Where the tokens live.
        is_interior: Whether none of them is known to need padding or a mask.
    """

    def __init__(
        self,
        grid: WindowGrid,
        batch_size: int,
        kept: Tensor | None,
        device: torch.device,
        is_interior: bool = False,
    ) -> None:
        self.grid = grid
        self.batch_size = batch_size
        self.kept = kept
        self.device = device
        self.is_interior = is_interior
        self._index: Tensor | None = None
        self._rows: Tensor | None = None

    @classmethod
    def locate(
        cls, grid: WindowGrid, batch_size: int, kept: Tensor | None, device: torch.device
    ) -> Windows:
        """Finds the windows that a block computes; see the attributes for the arguments."""
        return cls(grid, batch_size, kept, device)

    @property
    def num_windows(self) -> int:
        """Windows W."""
        if self.kept is None:
            return self.batch_size * self.grid.num_windows
        return self.kept.shape[0]

    @property
    def num_tokens(self) -> int:
        """Tokens N of a window."""
        return self.grid.window_size**2

    @property
    def rows(self) -> Tensor:
        """(W * N,) rows of the tokens in the map; a padding token names that of its pad source."""
        if self._rows is None:
            self._rows = _all_rows(self.grid, self.batch_size, self.device)
            if self.kept is not None:
                self._rows = self._rows.view(-1, self.num_tokens).index_select(0, self.kept)
            self._rows = self._rows.view(-1)
        return self._rows

    @property
    def padding(self) -> Tensor | None:
        """(W, N, 1) bool, which tokens are padding; None if none is."""
        padding = None if self.is_interior else self.grid.padding(self.device)
        return None if padding is None else self.per_window(padding)[..., None]

    @property
    def pad_source(self) -> Tensor | None:
        """(W, N) index in its window of the token that `rows` names; None without padding."""
        source = None if self.is_interior else self.grid.pad_source(self.device)
        return None if source is None else self.per_window(source)

    @property
    def mask_ids(self) -> Tensor | None:
        """(W,) which of the `edge_masks` each window needs; None without a shift."""
        mask_ids = None if self.is_interior else self.grid.mask_ids(self.device)
        return None if mask_ids is None else self.per_window(mask_ids)

    @property
    def image_index(self) -> Tensor:
        """(W,) the image each window belongs to."""
        if self.kept is not None:
            return self.kept // self.grid.num_windows
        images = torch.arange(self.batch_size, device=self.device)
        return images.repeat_interleave(self.grid.num_windows)

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
                yield Windows(self.grid, self.batch_size, chunk, self.device, is_interior)

    def per_window(self, values: Tensor) -> Tensor:
        """Takes the values of these windows.

        Args:
            values: (grid.num_windows, ...), the same for every image.

        Returns:
            (W, ...).
        """
        if self.kept is None:
            return values.repeat(self.batch_size, *[1] * (values.ndim - 1))
        if self._index is None:
            self._index = self.kept % self.grid.num_windows
        return values.index_select(0, self._index)


@cached_by_grid(maxsize=32)
def _all_rows(grid: WindowGrid, batch_size: int, device: torch.device) -> Tensor:
    """(B * grid.num_windows * N,) rows of the tokens of all windows."""
    first_row = torch.arange(batch_size, device=device) * (grid.height * grid.width)
    return (grid.token_index(device)[None] + first_row[:, None, None]).view(-1)


@cached_by_grid(maxsize=32)
def _all_inverse(grid: WindowGrid, batch_size: int, device: torch.device) -> Tensor:
    """(B * H * W,) where each token lies in all windows of a batch."""
    first = torch.arange(batch_size, device=device) * (grid.num_windows * grid.window_size**2)
    return (grid.inverse_index(device)[None] + first[:, None]).view(-1)


@cached_by_grid(maxsize=32)
def _all_windows(grid: WindowGrid, batch_size: int, device: torch.device) -> Tensor:
    """(B * grid.num_windows,) indices of all windows of a batch."""
    return torch.arange(batch_size * grid.num_windows, device=device)


@cached_by_grid(maxsize=32)
def _edge_windows(grid: WindowGrid, batch_size: int, device: torch.device) -> Tensor | None:
    """(B * grid.num_windows,) bool: which windows need padding or a mask; None if none does."""
    padding, mask_ids = grid.padding(device), grid.mask_ids(device)
    if padding is None and mask_ids is None:
        return None
    edge = torch.zeros(grid.num_windows, dtype=torch.bool, device=device)
    if padding is not None:
        edge |= padding.any(1)
    if mask_ids is not None:
        edge |= mask_ids != 0
    return edge.repeat(batch_size)


class MapWindows(NamedTuple):
    """Windows that are still in their map: a kernel reads them there when it needs them."""

    tokens: Tensor
    windows: Windows

    def read(self) -> Tensor:
        """The (W, N, C) tokens of the windows."""
        return _read(self.tokens, self.windows)


def gather(tokens: Tensor, windows: Windows) -> Tensor | MapWindows:
    """Reads windows from a map.

    Args:
        tokens: (B * H * W, C) the stage's tokens; those of a split grid include its padding.
        windows: W windows of N tokens.

    Returns:
        (W, N, C), padding 0; `MapWindows` where Triton's kernels read the map.
    """
    if use_triton(tokens) and not windows.grid.is_split:
        return MapWindows(tokens.contiguous(), windows)
    return _read(tokens, windows)


def _read(tokens: Tensor, windows: Windows) -> Tensor:
    if windows.grid.is_split:
        split = tokens.view(-1, windows.num_tokens, tokens.shape[-1])
        return split if windows.kept is None else split.index_select(0, windows.kept)
    own = tokens.index_select(0, windows.rows)
    own = own.view(windows.num_windows, windows.num_tokens, -1)
    padding = windows.padding
    return own if padding is None else own.masked_fill_(padding, 0)


def scatter_add(base: Tensor, own: Tensor, branch: Tensor | None, windows: Windows) -> Tensor:
    """Writes the sum of computed windows and their last branch over a map.

    Args:
        base: (B * H * W, C) what windows that were not computed keep; changed in place unless all
            were computed.
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
    return _write(base, own if branch is None else own + branch, windows)


def _write(base: Tensor, own: Tensor, windows: Windows) -> Tensor:
    own = own.to(base.dtype)
    if windows.grid.is_split:
        if windows.kept is None:
            return own.reshape(base.shape)
        base.view(-1, *own.shape[1:]).index_copy_(0, windows.kept, own)
        return base
    if windows.kept is None:
        inverse = _all_inverse(windows.grid, windows.batch_size, windows.device)
        return own.view(-1, own.shape[-1]).index_select(0, inverse)
    return base.index_copy_(0, windows.rows, _rows_to_write(own, windows))


def _rows_to_write(own: Tensor, windows: Windows) -> Tensor:
    """(W * N, C) what goes to `windows.rows`: padding has a token's value, not its gradient."""
    rows, source = own.view(-1, own.shape[-1]), windows.pad_source
    if source is None or windows.padding is None:
        return rows
    first = torch.arange(windows.num_windows, device=rows.device) * windows.num_tokens
    repeated = rows.detach().index_select(0, (source + first[:, None]).view(-1))
    if not rows.requires_grad:
        return repeated
    return torch.where(windows.padding.view(-1, 1), repeated, rows)


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
    if torch.is_grad_enabled() and base is tokens and not windows.grid.is_split and not in_graph():
        update = InPlaceGradient(windows)
        own, branch = block(update.gather(tokens), windows)
        return update.scatter(tokens, own if branch is None else own + branch)
    for chunk in windows.chunks(_chunk_size(tokens, windows, block)):
        base = scatter_add(base, *block(gather(tokens, chunk), chunk), chunk)
    return base


def _chunk_size(tokens: Tensor, windows: Windows, block: WindowBlock) -> int | None:
    """How many windows are computed at a time; None for all."""
    # Stochastic depth needs the windows of an image together, even without gradients.
    if torch.is_grad_enabled() or block.training or block.hidden_dims is None or in_graph():
        return None
    hidden = windows.num_tokens * block.hidden_dims * tokens.element_size()
    return max(1, (_CPU_BYTES if tokens.device.type == 'cpu' else _OTHER_BYTES) // hidden)


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
        """See `scatter_add`; `tokens` are those of `gather`."""
        after: Tensor = _Scatter.apply(own, self, tokens.detach())
        return after


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, tokens: Tensor, update: InPlaceGradient, before: InPlaceGradient | None
    ) -> Tensor:
        ctx.update, ctx.before = update, before
        return _read(tokens, update.windows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, own: Tensor) -> tuple[Tensor, None, None]:
        update: InPlaceGradient = ctx.update
        tokens, update.gradient = update.gradient, None
        gradient = _write(own if tokens is None else tokens, own, update.windows)
        if ctx.before is not None:
            ctx.before.handed_on = gradient.data_ptr()
        return gradient, None, None


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, update: InPlaceGradient, tokens: Tensor) -> Tensor:
        ctx.update = update
        ctx.dtype = own.dtype
        return _write(tokens, own, update.windows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, tokens: Tensor) -> tuple[Tensor, None, None]:
        update: InPlaceGradient = ctx.update
        if update.windows.kept is not None:
            # Written to in place only if the next update made it, and nobody else has it.
            is_own = tokens.data_ptr() == update.handed_on
            update.gradient, update.handed_on = tokens if is_own else tokens.clone(), None
        return _read(tokens, update.windows).to(ctx.dtype), None, None


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
