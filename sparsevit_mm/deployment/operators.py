"""Hands operators that read memory as it lies what they expect: float32 maps, row by row.

The compiled operators of mmcv (RoIAlign, deformable convolution and attention …) compute with
pointers and do not ask for the layout of a map, and many of them know float32 alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_PACKAGE = 'mmcv.ops'


def keep_operators_inputs(model: nn.Module) -> None:
    """Makes the inputs of mmcv's operators contiguous, in place.

    Args:
        model: The model.
    """
    for module in model.modules():
        if is_operator(module):
            module.register_forward_pre_hook(_contiguous_inputs, with_kwargs=True)


def is_operator(module: nn.Module) -> bool:
    """Whether a module is one of mmcv's operators.

    Args:
        module: The module.
    """
    return any(kind.__module__.startswith(_PACKAGE) for kind in type(module).__mro__)


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


def _contiguous_inputs(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return map_tensors(torch.Tensor.contiguous, args), map_tensors(torch.Tensor.contiguous, kwargs)
