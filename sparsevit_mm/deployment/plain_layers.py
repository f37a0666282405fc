"""Which layers of a model do what their class does, and nothing else, so that others may stand in.

mmcv has subclasses of PyTorch's layers that differ only with versions of PyTorch before 1.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TypeVar

from torch import nn

from sparsevit_mm.deployment.operators import is_operator
from sparsevit_mm.ops.backend import is_plain

_Layer = TypeVar('_Layer', bound=nn.Module)


def equal_classes(kind: type[nn.Module]) -> tuple[type[nn.Module], ...]:
    """A class of `torch.nn` and mmcv's of the same name, which computes the same.

    Args:
        kind: Such as `nn.Conv2d`.
    """
    if find_spec('mmcv') is None:
        return (kind,)
    from mmcv.cnn.bricks import wrappers

    same = getattr(wrappers, kind.__name__, None)
    return (kind,) if same is None else (kind, same)


def is_layer(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module computes what a class of `torch.nn` does, without hooks and adapters.

    Args:
        module: The module.
        kind: Such as `nn.Conv2d`; other subclasses of it may compute something else.
    """
    return any(is_plain(module, same) for same in equal_classes(kind))


def layers_of(
    module: nn.Module, kind: type[_Layer], in_operators: bool = False
) -> Iterator[_Layer]:
    """The layers of a kind in a module, see `is_layer`.

    Args:
        module: The module.
        kind: Such as `nn.Conv2d`.
        in_operators: Whether to count those that an operator of mmcv holds and passes on.
    """
    held: set[int] = set()
    if not in_operators:
        held = {id(p) for each in module.modules() if is_operator(each) for p in each.modules()}
    for part in list(module.modules()):
        if id(part) not in held and isinstance(part, kind) and is_layer(part, kind):
            yield part
