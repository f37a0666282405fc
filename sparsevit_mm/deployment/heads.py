"""Which parts of a model others take apart, and what they must get: maps row by row, in float32.

What turns the outputs of heads into boxes, masks and labels views them as it likes and computes
with places in pixels, for which half precision is too coarse.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from torch import Tensor, nn

from sparsevit_mm.deployment.operators import is_operator, map_tensors

_TRUNK = ('backbone', 'neck')
"""Parts whose maps only parts of the network read; names may have more before them."""

_CALLED_BY_PART = ('BaseRoIHead',)
"""Classes that never compute by themselves: they call what they hold."""


def give_plain_outputs(model: nn.Module) -> None:
    """Makes the outputs of all heads contiguous and float32, in place.

    Args:
        model: The model.
    """
    for head in heads_of(model):
        head.__class__ = _with_plain_outputs(type(head))  # type: ignore[arg-type]


def heads_of(model: nn.Module) -> Iterator[nn.Module]:
    """The parts of a model whose outputs are no longer read by the network alone.

    Args:
        model: A detector, segmentor or classifier.
    """
    for name, part in model.named_children():
        if isinstance(part, (nn.ModuleList, nn.ModuleDict)) or _is_called_by_part(part):
            yield from heads_of(part)
        elif (
            not name.endswith(_TRUNK)
            and not is_operator(part)
            and any(True for _ in part.parameters())
        ):
            yield part


def _is_called_by_part(part: nn.Module) -> bool:
    return any(kind.__name__ in _CALLED_BY_PART for kind in type(part).__mro__)


def _plain(tensor: Tensor) -> Tensor:
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous()


@cache
def _with_plain_outputs(kind: type[nn.Module]) -> type[nn.Module]:
    """A subclass whose outputs are plain; copies of a model share it."""

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return map_tensors(_plain, kind.forward(self, *args, **kwargs))

    return type(kind.__name__, (kind,), {'forward': forward, '__module__': kind.__module__})
