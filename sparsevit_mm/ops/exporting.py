"""What layers do otherwise while they become a graph (`torch.export`, ONNX, `torch.compile`).

An exported graph for one size holds index maps and masks as constants. A graph for any size works
them out, from sides that are symbols while it is made: a symbol has no value to branch on and no
hash. Compiled graphs always work them out: they are fused into what reads them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from sparsevit_mm.ops.compat import is_compiling, is_dynamo_compiling

if TYPE_CHECKING:
    from sparsevit_mm.ops.window_grid import WindowGrid

_Function = TypeVar('_Function', bound=Callable[..., Any])


def in_graph() -> bool:
    """Whether a compiler or an exporter, which arranges the work itself, watches the code."""
    return is_compiling() or torch.jit.is_tracing()


def is_symbolic(*sides: Any) -> bool:
    """Whether any of these stands for all sizes."""
    return any(isinstance(side, torch.SymInt) for side in sides)


def is_certain(condition: bool) -> bool:
    """Whether a condition on sides holds for all sizes that the graph being made is for.

    Outside of compilers and exporters it is the condition; asking it of symbols would make them
    assume the answer.
    """
    if not is_compiling():
        return condition
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return statically_known_true(condition)


def cached_by_grid(maxsize: int) -> Callable[[_Function], _Function]:
    """Remembers what follows from a `WindowGrid`, the first argument, unless it is compiled.

    What is remembered is made outside inference mode, because a grid first seen in inference may be
    used in training later.

    Args:
        maxsize: Results to remember: a few grids a stage for the sizes in use.
    """

    def decorate(function: _Function) -> _Function:
        cached = functools.lru_cache(maxsize)(torch.inference_mode(False)(function))

        @functools.wraps(function)
        def remembered(grid: WindowGrid, *args: Any) -> Any:
            # A batch of any size is a symbol too, which has no hash.
            if is_dynamo_compiling() or is_symbolic(grid.height, grid.width, *args):
                return function(grid, *args)
            return cached(grid, *args)

        return cast(_Function, remembered)

    return decorate
