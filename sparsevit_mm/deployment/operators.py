"""Hands operators that read memory as it lies what they expect: float32 maps, row by row.

The compiled operators of mmcv (RoIAlign, deformable convolution and attention …) compute with
pointers and do not ask for the layout of a map, and many of them know float32 alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

_PACKAGE = 'mmcv.ops'
_HEADS = ('TOODHead',)
"""Classes that call a function of that package themselves: they are taken for an operator."""

_CALLERS = ('BaseRoIExtractor',)
"""Classes that take places in pixels to the dtype of the maps, and write what operators give."""


def keep_operators_inputs(model: nn.Module, but: Collection[nn.Module] = ()) -> None:
    """Makes mmcv's operators compute in float32, on contiguous inputs, in place.

    Args:
        model: The model.
        but: Modules of it that take any input.
    """
    for module in model.modules():
        if module in but:
            continue
        if is_operator(module) or any(kind.__name__ in _CALLERS for kind in type(module).__mro__):
            module.__class__ = with_plain_inputs(type(module))  # type: ignore[arg-type]


def is_operator(module: nn.Module) -> bool:
    """Whether a module is one of mmcv's operators, or a head that calls one by itself.

    Args:
        module: The module.
    """
    return any(
        kind.__module__.startswith(_PACKAGE) or kind.__name__ in _HEADS
        for kind in type(module).__mro__
    )


def plain(tensor: Tensor) -> Tensor:
    """A contiguous tensor, and a float32 one if it is of a floating-point dtype.

    Args:
        tensor: Any tensor.
    """
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous()


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Applies a function to all tensors in lists, tuples and dicts.

    Args:
        function: Of a tensor.
        value: A tensor, or what may hold some; anything else is returned as it is.
    """
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: map_tensors(function, item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map_tensors(function, item) for item in value)
    return value


def subclass(kind: type[nn.Module], forward: Callable[..., Any]) -> type[nn.Module]:
    """A class of the same name that computes in another way.

    Args:
        kind: The class.
        forward: Its new forward.
    """
    return type(kind.__name__, (kind,), {'forward': forward, '__module__': kind.__module__})


@cache
def with_plain_inputs(kind: type[nn.Module]) -> type[nn.Module]:
    """A subclass that takes contiguous float32 inputs and computes in float32.

    Args:
        kind: The class.
    """

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        devices = set()

        def take(tensor: Tensor) -> Tensor:
            devices.add(tensor.device.type)
            return plain(tensor)

        args, kwargs = map_tensors(take, args), map_tensors(take, kwargs)
        with torch.autocast(devices.pop() if devices else 'cpu', enabled=False):
            return kind.forward(self, *args, **kwargs)

    return subclass(kind, forward)
