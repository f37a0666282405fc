"""A convolution of a neck or head that computes only some windows, and the two passes it works in.

The coarse pass is the neck and head on pooled maps. It says which windows matter, and what its
convolutions give is, interpolated, what all other windows get. The second pass computes the windows
that matter:

    y = mask * conv(x) + (1 - mask) * upsample(coarse)

A neck or head does the same calls in the same order in both passes, so the second one finds what
the first one left by counting.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from sparsevit_mm.ops.backend import thread_id, use_onednn
from sparsevit_mm.ops.halo import convolve_windows
from sparsevit_mm.ops.layouts import channels_last, for_convolution
from sparsevit_mm.ops.tokens import product
from sparsevit_mm.ops.windows import Windows

Size = tuple[int, int]


def pooled(feature_map: Tensor, pool: int) -> Tensor:
    """(B, C, ceil(H / pool), ceil(W / pool)) means of `pool` x `pool` tokens of a (B, C, H, W)."""
    return F.avg_pool2d(feature_map, pool, ceil_mode=True, count_include_pad=False)


def upsampled(coarse: Tensor, size: Size, pool: int) -> Tensor:
    """Interpolates a map of the coarse pass to the (H, W) it was pooled from."""
    height, width = size
    full = F.interpolate(coarse, scale_factor=float(pool), mode='bilinear', align_corners=False)
    return full[..., :height, :width]


@dataclass
class Call:
    """What a convolution did in the coarse pass.

    Attributes:
        size: Height and width of the map it was given.
        result: (B, O, H', W') what it gave.
        finished: The same after the norm and activation of its module, if that repeats it.
    """

    size: Size
    result: Tensor
    finished: Tensor | None = None


@dataclass
class CoarsePass:
    """The first pass: every convolution leaves its result.

    Attributes:
        pool: Side of the squares of tokens that are averaged.
        stages: Stages whose maps are pooled.
        calls: What the convolutions did, in order.
    """

    pool: int
    stages: frozenset[int]
    calls: list[Call] = field(default_factory=list)

    def convolve(self, conv: SparseConv2d, feature_map: Tensor) -> Tensor:
        """Convolves a map, pooled first where the coarse maps of a stage begin."""
        if conv.pools_stage in self.stages:
            feature_map = pooled(feature_map, self.pool)
        result = conv.in_pass(feature_map)
        self.calls.append(Call(_size(feature_map), result))
        return result.clone() if conv.is_needed_again else result

    def finish(self, module: Any, feature_map: Tensor) -> Tensor:
        """Computes a module of a convolution and what follows it, which leaves its result."""
        finished: Tensor = type(module).forward(module, feature_map)
        self.calls[-1].finished = finished
        return finished


@dataclass
class SparsePass:
    """The second pass: windows that matter are computed, all others interpolated.

    Attributes:
        pool: That of the coarse pass.
        calls: Those of the coarse pass.
        windows: By the (H, W) of a map, the windows that are computed; maps of other sizes are
            computed as a whole.
        number: Convolutions so far.
    """

    pool: int
    calls: list[Call]
    windows: Mapping[Size, Windows]
    number: int = 0

    def convolve(self, conv: SparseConv2d, feature_map: Tensor) -> Tensor:
        """Convolves the windows of a map that matter, or takes what the coarse pass gave."""
        call, size = self.calls[self.number], _size(feature_map)
        self.number += 1
        is_coarse = call.size == tuple((side + self.pool - 1) // self.pool for side in size)
        if conv.in_windows and is_coarse and size in self.windows:
            others = upsampled(call.result, size, self.pool)
            return conv.of_windows(feature_map, others, self.windows[size])
        return call.result if self._is_the_same(conv, size, call) else conv.in_pass(feature_map)

    def finish(self, module: Any, feature_map: Tensor) -> Tensor:
        """Takes what a module gave in the coarse pass, if it is the same now, or computes it."""
        call = self.calls[self.number]
        is_the_same = self._is_the_same(module.conv, _size(feature_map), call)
        norm_learns = any(part.training for part in module.children())
        if call.finished is None or norm_learns or not is_the_same:
            computed: Tensor = type(module).forward(module, feature_map)
            return computed
        self.number += 1
        return call.finished

    def _is_the_same(self, conv: SparseConv2d, size: Size, call: Call) -> bool:
        # In training, the norms of the two passes differ, and a map of one token is pooled to one.
        return conv.repeats and call.size == size and size != (1, 1) and not conv.training


Pass = CoarsePass | SparsePass

_running: dict[int, Pass] = {}  # by thread


@contextlib.contextmanager
def running(work: Pass) -> Iterator[None]:
    """Makes the convolutions that are called inside the block a part of a pass."""
    thread = thread_id()
    before = _running.get(thread)
    _running[thread] = work
    try:
        yield
    finally:
        if before is None:
            del _running[thread]
        else:
            _running[thread] = before


def running_pass() -> Pass | None:
    """The pass that is computed now in this thread."""
    return _running.get(thread_id())


class SparseConv2d(nn.Conv2d):
    """A convolution of a neck or head; outside of a pass, that of torch.

    Convolutions of a built model become one in place: their parameters, hooks and names stay.

    Attributes:
        in_windows: Whether it computes windows, or only takes part in the count of calls.
        pools_stage: The stage whose map the coarse pass pools in front of it; None if it gets a map
            that is coarse already.
        repeats: Whether a map of the same size is the same map in both passes, so that the second
            one takes the result of the first.
        in_repeated_module: Whether then the module around it gives the same, see `repeat_module`.
    """

    in_windows: bool = False
    repeats: bool = False
    in_repeated_module: bool = False
    pools_stage: int | None = None

    @property
    def is_needed_again(self) -> bool:
        """Whether the second pass needs its result of the first, which activations may change."""
        return self.in_windows or (self.repeats and not self.in_repeated_module)

    def forward(self, feature_map: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, O, H', W'), as the pass that is running wants it."""
        work = running_pass()
        return self.whole(feature_map) if work is None else work.convolve(self, feature_map)

    def whole(self, feature_map: Tensor) -> Tensor:
        """The convolution of the whole map."""
        return super().forward(feature_map)

    def in_pass(self, feature_map: Tensor) -> Tensor:
        """The same, channels-last: maps that are joined with another layout are slow to gather."""
        if not (self.is_pointwise and use_onednn(feature_map)):
            return channels_last(self.whole(for_convolution(feature_map)))
        tokens = feature_map.permute(0, 2, 3, 1)
        return product(tokens, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)

    @property
    def is_pointwise(self) -> bool:
        """Whether it is a product of each token with one matrix."""
        plain = self.stride == (1, 1) and self.padding in ((0, 0), 'valid') and self.groups == 1
        return plain and self.kernel_size == (1, 1)

    def of_windows(self, feature_map: Tensor, others: Tensor, windows: Windows) -> Tensor:
        """Convolves chosen windows, see `convolve_windows`."""
        dilation = (self.dilation[0], self.dilation[1])
        return convolve_windows(
            feature_map, others, windows, self.weight, self.bias, dilation, self.groups
        )


def repeat_module(module: nn.Module) -> None:
    """Makes a module of mmcv, of a convolution first, take its result of the coarse pass.

    Args:
        module: A `ConvModule` of which nothing is changed in place afterwards.
    """
    own: Any = module
    own.forward = MethodType(_forward_of_module, own)
    own.conv.in_repeated_module = True


def is_repeated_module(module: nn.Module) -> bool:
    """Whether a module is one of `repeat_module`; outside of passes it does what its class does."""
    return getattr(module.__dict__.get('forward'), '__func__', None) is _forward_of_module


def _forward_of_module(module: Any, feature_map: Tensor) -> Tensor:
    work = running_pass()
    if work is not None:
        return work.finish(module, feature_map)
    result: Tensor = type(module).forward(module, feature_map)
    return result


def _size(feature_map: Tensor) -> Size:
    return feature_map.shape[2], feature_map.shape[3]


def fits_windows(conv: nn.Conv2d) -> bool:
    """Whether a convolution can compute windows: one of stride 1 that looks at neighbors."""
    sides, steps = conv.kernel_size, conv.dilation
    same = tuple(step * (side - 1) // 2 for side, step in zip(sides, steps))
    return (
        max(sides) > 1
        and all(side % 2 for side in sides)
        and conv.stride == (1, 1)
        and conv.padding in (same, 'same')
        and conv.padding_mode == 'zeros'
    )
