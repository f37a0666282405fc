"""Finds the backbone of a model that has a pruning schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast, runtime_checkable

from torch import nn

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.pruning.selection import WindowSelection


@runtime_checkable
class PrunableBackbone(Protocol):
    """Interface of a backbone with a pruning schedule, for hooks, search and visualization.

    Attributes:
        arch: Sizes of the backbone.
        window_observer: Called with the selected windows of each block, if not None.
    """

    arch: Any
    window_observer: Callable[[WindowSelection], None] | None

    @property
    def pruning_schedule(self) -> PruningSchedule:
        """The current schedule."""

    @pruning_schedule.setter
    def pruning_schedule(self, ratios: Any) -> None: ...


def find_prunable_backbone(model: nn.Module) -> PrunableBackbone:
    """Finds the only backbone with a pruning schedule in a model.

    Args:
        model: A backbone, a detector or segmentor, or a wrapper of one.

    Returns:
        The backbone.

    Raises:
        ConfigError: If the model has none, or more than one.
    """
    found = [module for module in model.modules() if isinstance(module, PrunableBackbone)]
    if len(found) == 1:
        return cast(PrunableBackbone, found[0])
    if found:
        raise ConfigError(
            f'{type(model).__name__} has {len(found)} backbones with a pruning schedule, but '
            'exactly one is supported.'
        )
    backbones = [type(part).__name__ for name, part in model.named_modules() if _is_backbone(name)]
    owner = f'the backbone {backbones[0]}' if backbones else type(model).__name__
    raise ConfigError(
        f'{owner} has no pruning schedule: use a backbone of sparsevit_mm, such as '
        "type='sparsevit_mm.SparseViT', or leave window pruning out."
    )


def prunable_or_none(model: nn.Module) -> PrunableBackbone | None:
    """Finds the backbone with a pruning schedule; None if there is not exactly one."""
    try:
        return find_prunable_backbone(model)
    except ConfigError:
        return None


def _is_backbone(name: str) -> bool:
    return name.rsplit('.', 1)[-1] == 'backbone'
