"""Finds the backbone of a model that has a pruning schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, cast, runtime_checkable

from torch import Tensor, nn

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.allocation import Allocation
from sparsevit_mm.pruning.importance import Importance, build_importance
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
    def head_stages(self) -> tuple[bool, ...] | None:
        """At the resolutions of which stages neck and head can skip windows; None for none."""

    @property
    def allocation(self) -> Allocation:
        """Which images share a budget of windows."""

    @property
    def importance(self) -> Importance:
        """What ranks the windows."""

    @importance.setter
    def importance(self, importance: Any) -> None: ...

    @property
    def pruning_schedule(self) -> PruningSchedule:
        """The current schedule."""

    @pruning_schedule.setter
    def pruning_schedule(self, ratios: Any) -> None: ...

    def attention_blocks(self) -> list[nn.Module]:
        """The blocks that compute windows, first to last."""


def check_learned(backbone: PrunableBackbone, importances: Iterable[str | None]) -> None:
    """Checks that weights have learned what windows shall be ranked by.

    Args:
        backbone: The backbone, with its weights.
        importances: Names of importances; None for the backbone's own.

    Raises:
        ConfigError: If one of them learns, and the weights have learned nothing.
    """
    for name in importances:
        if name is None or not build_importance(name).is_learned:
            continue
        state = getattr(backbone, 'importance_state', None)
        if state is None or not state.has_learned:
            raise ConfigError(
                f'importance is {name!r}, but these weights have learned none: adapt them with '
                'SparsityAdaptationHook while the backbone of the config names it.'
            )


class TwinBackbones(nn.Module):
    """Several backbones of one architecture that share a schedule and whoever observes windows.

    Everything else is that of the last one, which in MMDetection's semi-supervised detectors is
    the teacher's, who predicts.

    Args:
        backbones: The backbones, in the order of the model.
    """

    def __init__(self, backbones: Sequence[Any]) -> None:
        super().__init__()
        self.backbones = nn.ModuleList(backbones)

    @property
    def arch(self) -> Any:
        """Sizes of all."""
        return self._last.arch

    @property
    def head_stages(self) -> tuple[bool, ...] | None:
        """At the resolutions of which stages neck and head can skip windows, the same for all."""
        return cast('tuple[bool, ...] | None', self._last.head_stages)

    @property
    def allocation(self) -> Allocation:
        """Which images share a budget of windows, the same for all."""
        return cast(Allocation, self._last.allocation)

    @property
    def importance(self) -> Importance:
        """What ranks the windows of all."""
        return cast(Importance, self._last.importance)

    @importance.setter
    def importance(self, importance: Any) -> None:
        for backbone in self.backbones:
            backbone.importance = importance

    @property
    def pruning_schedule(self) -> PruningSchedule:
        """The schedule of all."""
        return cast(PruningSchedule, self._last.pruning_schedule)

    @pruning_schedule.setter
    def pruning_schedule(self, ratios: Any) -> None:
        for backbone in self.backbones:
            backbone.pruning_schedule = ratios

    @property
    def window_observer(self) -> Callable[[WindowSelection], None] | None:
        """Called with the selected windows of each block of all, if not None."""
        return cast(Any, self._last.window_observer)

    @window_observer.setter
    def window_observer(self, observer: Callable[[WindowSelection], None] | None) -> None:
        for backbone in self.backbones:
            backbone.window_observer = observer  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == 'backbones':
                raise
            return getattr(self._last, name)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Computes the maps of the last backbone."""
        return cast('tuple[Tensor, ...]', self._last(images))

    @property
    def _last(self) -> Any:
        return self.backbones[-1]


def find_prunable_backbone(model: nn.Module) -> PrunableBackbone:
    """Finds the backbone with a pruning schedule in a model.

    Args:
        model: A backbone, a detector or segmentor, or a wrapper of one.

    Returns:
        The backbone; where a model has several of one architecture, such as a student and its
        teacher, `TwinBackbones` of them.

    Raises:
        ConfigError: If the model has none, or several that differ.
    """
    found = [module for module in model.modules() if isinstance(module, PrunableBackbone)]
    if len(found) == 1:
        return cast(PrunableBackbone, found[0])
    if found and all(backbone.arch == found[0].arch for backbone in found):
        return cast(PrunableBackbone, TwinBackbones(found))
    if found:
        raise ConfigError(
            f'{type(model).__name__} has {len(found)} backbones with a pruning schedule, but '
            'exactly one, or several of one architecture, are supported.'
        )
    backbones = [type(part).__name__ for name, part in model.named_modules() if _is_backbone(name)]
    owner = f'the backbone {backbones[0]}' if backbones else type(model).__name__
    raise ConfigError(
        f'{owner} has no pruning schedule: use a backbone of sparsevit_mm, such as '
        "type='sparsevit_mm.SparseViT', or leave window pruning out."
    )


def predicting_backbone(model: nn.Module) -> nn.Module:
    """The module that `find_prunable_backbone` finds; of several, the one that predicts.

    Unlike `TwinBackbones`, it is a part of the model, so that hooks on it are called.

    Args:
        model: As for `find_prunable_backbone`.

    Raises:
        ConfigError: If the model has none, or several that differ.
    """
    found = find_prunable_backbone(model)
    return found.backbones[-1] if isinstance(found, TwinBackbones) else cast(nn.Module, found)


def prunable_or_none(model: nn.Module) -> PrunableBackbone | None:
    """Finds the backbone with a pruning schedule; None if there is not exactly one."""
    try:
        return find_prunable_backbone(model)
    except ConfigError:
        return None


def _is_backbone(name: str) -> bool:
    return name.rsplit('.', 1)[-1] == 'backbone'
