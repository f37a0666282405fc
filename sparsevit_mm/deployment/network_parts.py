"""The parts of a model that compute: each in its precision, and with outputs as their readers need.

What turns the outputs of heads into boxes, masks and labels views them as it likes and computes
with places in pixels, for which half precision is too coarse: heads give float32 maps, row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from sparsevit_mm.deployment.operators import is_operator, map_tensors, plain, subclass
from sparsevit_mm.models.window_pruning import WindowPruning

_TRUNK = ('backbone', 'neck')
"""Parts whose maps only parts of the network read; names may have more before them."""

_CALLED_BY_PART = ('BaseRoIHead',)
"""Classes that never compute by themselves: they call what they hold."""


def prepare_parts(model: nn.Module, dtype: torch.dtype | None) -> None:
    """Sets what the parts of a model compute in and what they give, in place.

    Args:
        model: A detector, segmentor, classifier or backbone.
        dtype: The reduced precision that layers have; None for float32.
    """
    if isinstance(model, WindowPruning):
        parts: list[tuple[nn.Module, Any]] = [(model, None if dtype is None else Tensor.float)]
    else:
        parts = [(part, plain if is_head else None) for part, is_head in parts_of(model)]
    for part, outputs in parts:
        if outputs is not None or dtype is not None:
            part.__class__ = _changed(type(part), dtype, outputs)  # type: ignore[arg-type]


def parts_of(model: nn.Module) -> Iterator[tuple[nn.Module, bool]]:
    """The parts of a model that are called, and whether others than the network read their outputs.

    Args:
        model: A detector, segmentor or classifier.
    """
    for name, part in model.named_children():
        classes = {kind.__name__ for kind in type(part).__mro__}
        if isinstance(part, (nn.ModuleList, nn.ModuleDict)) or classes & {*_CALLED_BY_PART}:
            yield from parts_of(part)
        elif not is_operator(part) and any(True for _ in part.parameters()):
            yield part, not name.endswith(_TRUNK)


@cache
def _changed(
    kind: type[nn.Module],
    dtype: torch.dtype | None,
    outputs: Callable[[Tensor], Tensor] | None,
) -> type[nn.Module]:
    """A subclass that computes and gives what it should; copies of a model share it."""

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with _computing_in(dtype, self):
            if dtype is not None and isinstance(self, WindowPruning):
                args = map_tensors(lambda images: images.to(dtype), args)
            found = kind.forward(self, *args, **kwargs)
        return found if outputs is None else map_tensors(outputs, found)

    return subclass(kind, forward)


def _computing_in(dtype: torch.dtype | None, part: nn.Module) -> AbstractContextManager[Any]:
    """Reduced precision inside a part; our backbones, whose weights all have it, need no help."""
    if dtype is None:
        return nullcontext()
    device = next(part.parameters()).device.type
    return torch.autocast(device, dtype, enabled=not isinstance(part, WindowPruning))
