"""An importance that is learned from labels: linear probes tell objects from the background.

It learns while the network is adapted to sparsity: without a pass of its own, and without a
gradient to the network.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmengine.logging import print_log
from torch import Tensor, nn

from sparsevit_mm.ops.compat import is_exporting
from sparsevit_mm.ops.windows import WindowGrid, Windows, gather
from sparsevit_mm.pruning.importance import IMPORTANCES, Importance

_DECAY = 0.98
"""How much of what a probe has seen it keeps at every batch, for the network changes meanwhile."""

_RIDGE = 1e-3
"""Share of the mean variance that is added to each, so that there is one best probe."""


class LinearProbes(nn.Module):
    """What a `LearnedImportance` has learned: a probe for each number of channels.

    A probe is the least-squares fit of 1 to tokens with an object pixel and of -1 to all others,
    both kinds weighing the same. `weight_<C>` (C + 1,) are its weights and offset, `moments_<C>`
    (C + 1, C + 2) what they are computed from.

    Args:
        sides: Side of a token in pixels, by its channels C.
    """

    def __init__(self, sides: Mapping[int, int]) -> None:
        super().__init__()
        self.sides = dict(sides)
        self._has_learned = False
        for channels in self.sides:
            self.register_buffer(f'weight_{channels}', torch.zeros(channels + 1))
            self.register_buffer(f'moments_{channels}', torch.zeros(channels + 1, channels + 2))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LinearProbes:
        """Moves to a device, but stays in float32: half precision would blur the ranking."""
        super()._apply(lambda tensor: tensor.to(fn(tensor).device), recurse)
        return self

    @property
    def has_learned(self) -> bool:
        """Whether any probe has learned from any token."""
        if not self._has_learned and not is_exporting():
            self._has_learned = any(bool(buffer.any()) for buffer in self.buffers())
        return self._has_learned

    def forward(self, tokens: Tensor) -> Tensor:
        """How object-like tokens are.

        Args:
            tokens: (M, C + 1) from `LearnedImportance.summarize`.

        Returns:
            (M,), about 1 for objects and -1 for background.
        """
        weight: Tensor = getattr(self, f'weight_{tokens.shape[1] - 1}')
        # Not a matrix product: int8 and half precision would reach it, and blur the ranking.
        return (tokens * weight.to(tokens.dtype)).sum(-1)

    @torch.no_grad()
    def learn(self, tokens: Tensor, grid: WindowGrid, objects: Tensor) -> None:
        """Takes a batch into account.

        Args:
            tokens: (B * grid.map_tokens, C + 1) from `LearnedImportance.summarize`.
            grid: The windows.
            objects: (B, H, W) bool, the object pixels of its images; padding may be missing.
        """
        if not tokens.isfinite().all():
            return  # of a step that is skipped, as loss scaling does
        channels = tokens.shape[1] - 1
        side, (height, width) = self.sides[channels], objects.shape[1:]
        missing = grid.width * side - width, grid.height * side - height
        whole = F.pad(objects.to(tokens.device).float(), (0, missing[0], 0, missing[1]))
        is_object = F.max_pool2d(whole, side).flatten() > 0
        moments: Tensor = getattr(self, f'moments_{channels}')
        own = torch.zeros_like(moments)
        for kind, wanted in ((tokens[is_object], 1.0), (tokens[~is_object], -1.0)):
            if len(kind):
                products = wanted * kind.sum(0)[:, None]
                own += torch.cat([kind.T @ kind, products], 1) / len(kind)
        all_reduce(own, 'mean')
        moments.mul_(_DECAY).add_(own)
        squares, products = moments[:, :-1], moments[:, -1]
        ridge = _RIDGE * squares.diagonal().mean()
        fit = torch.linalg.solve(squares + ridge * torch.eye(len(squares)).to(squares), products)
        getattr(self, f'weight_{channels}').copy_(fit)


@IMPORTANCES.register_module(name='learned')
class LearnedImportance(Importance):
    """The most object-like token of a window, as a linear probe of the stage tells.

    In training it learns from the object pixels of every batch that it is shown, see
    `SparsityAdaptationHook`. What it has learned is a part of the backbone's weights.
    """

    is_learned = True
    is_comparable = True
    _has_warned = False
    _learned_from: Tensor | None = None
    _has_learned_of: tuple[int, ...] = ()

    def new_state(self, arch: Any) -> LinearProbes:
        """A probe for every stage with windows, see `Importance`."""
        return LinearProbes(
            {
                channels: arch.patch_size * 2**stage
                for stage, channels in enumerate(arch.stage_dims)
                if arch.has_windows[stage]
            }
        )

    def operations(self, channels: int) -> tuple[int, int]:
        """A norm; then a scalar product and a maximum, see `Importance`."""
        return 7 * channels, 2 * channels + 2

    def summarize(self, tokens: Tensor) -> Tensor:
        """(B * grid.map_tokens, C + 1) tokens after a norm, and a 1; see `Importance`."""
        normed = F.layer_norm(tokens.float(), tokens.shape[-1:])
        return F.pad(normed, (0, 1), value=1.0)

    def score(self, summary: Tensor, grid: WindowGrid, batch_size: int) -> Tensor:
        """Largest value of the probe in a window, see `Importance`."""
        assert isinstance(self.state, LinearProbes), 'a backbone gives it'
        with torch.autocast(summary.device.type, enabled=False):
            if self.state.training and not grid.shift:
                self._learn(summary, grid)
            values = self.state(summary)
        if not self._has_warned and not self.state.has_learned:
            self._warn()
        windows = Windows.locate(grid, batch_size, None, summary.device)
        own = gather(values[:, None], windows)
        if windows.maps.padding is not None:
            own = own.masked_fill(windows.maps.padding, -math.inf)
        return own.amax((1, 2)).view(batch_size, -1)

    def _learn(self, summary: Tensor, grid: WindowGrid) -> None:
        """Learns once from a batch in every stage, however often a forward is computed again."""
        assert isinstance(self.state, LinearProbes)
        if self.objects is not self._learned_from:
            self._learned_from, self._has_learned_of = self.objects, ()
        channels = summary.shape[1] - 1
        if self.objects is not None and channels not in self._has_learned_of:
            self._has_learned_of += (channels,)
            self.state.learn(summary, grid, self.objects)

    def _warn(self) -> None:
        self._has_warned = True
        print_log(
            "importance is 'learned', but nothing was learned yet, so that windows are kept in the "
            'order in which they are read: load weights that SparsityAdaptationHook adapted with '
            'it.',
            logger='current',
            level=logging.WARNING,
        )
