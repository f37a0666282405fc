"""What every backbone that skips windows has: schedule, importance, allocation, an observer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sparsevit_mm.models.fixed_options import FixedOptions
from sparsevit_mm.ops.windows import Windows
from sparsevit_mm.pruning.allocation import Allocation, build_allocation
from sparsevit_mm.pruning.importance import Importance, build_importance
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.pruning.selection import WindowRanking, WindowSelection


class WindowPruning(FixedOptions):
    """A backbone that computes only some of its windows.

    Subclasses set `arch` and call `set_pruning` when they are built.

    Attributes:
        arch: The sizes; `depths` has the blocks in each stage, `has_windows` which stages attend in
            windows.
        window_observer: Called with a `WindowSelection` after every block if set; for images and
            logs.
    """

    arch: Any
    window_observer: Callable[[WindowSelection], None] | None = None
    _is_channels_last = False

    changeable_options = (
        *FixedOptions.changeable_options,
        'allocation',
        'importance',
        'pruning_ratios',
    )

    def set_pruning(
        self,
        pruning_ratios: Any,
        importance: str | Mapping[str, Any],
        allocation: str | Mapping[str, Any] = 'image',
    ) -> None:
        """Sets what the constructor was given.

        Args:
            pruning_ratios: The schedule, in any form `PruningSchedule.parse` takes.
            importance: What windows are ranked by, see `build_importance`.
            allocation: Which images share a budget of windows, see `build_allocation`.
        """
        self.importance = importance
        self.allocation = allocation
        self.pruning_schedule = pruning_ratios

    @property
    def pruning_schedule(self) -> PruningSchedule:
        """Which share of its windows every block skips; assign any form `pruning_ratios` takes.

        A schedule that names an allocation or an importance sets it, too; one that does not leaves
        the backbone's.
        """
        return self._pruning_schedule

    @pruning_schedule.setter
    def pruning_schedule(self, ratios: Any) -> None:
        self._pruning_schedule = PruningSchedule.parse(
            ratios, self.arch.depths, self.arch.has_windows
        )
        if self._pruning_schedule.allocation is not None:
            self.allocation = self._pruning_schedule.allocation
        if self._pruning_schedule.importance is not None:
            self.importance = self._pruning_schedule.importance

    @property
    def pruning_ratios(self) -> PruningSchedule:
        """The same as `pruning_schedule`, under the name of the constructor's argument."""
        return self._pruning_schedule

    @pruning_ratios.setter
    def pruning_ratios(self, ratios: Any) -> None:
        self.pruning_schedule = ratios

    @property
    def importance(self) -> Importance:
        """What ranks the windows; assign any form the argument takes."""
        return self._importance

    @importance.setter
    def importance(self, importance: str | Mapping[str, Any] | Importance) -> None:
        self._importance = build_importance(importance)

    @property
    def allocation(self) -> Allocation:
        """Which images share a budget of windows; assign any form the argument takes."""
        return self._allocation

    @allocation.setter
    def allocation(self, allocation: str | Mapping[str, Any] | Allocation) -> None:
        self._allocation = build_allocation(allocation)

    def keep_channels_last(self) -> None:
        """Returns maps channels-last from now on, as tokens lie, for necks that read them so."""
        self._is_channels_last = True

    def new_ranking(self, batch_size: int) -> WindowRanking:
        """The ranking of the windows of one stage for one forward.

        Args:
            batch_size: Images B.
        """
        return WindowRanking(self._importance, batch_size, self._allocation)

    def observe(self, stage: int, block: int, windows: Windows) -> None:
        """Shows what a block computed to whoever looks on.

        Args:
            stage: Index of the stage.
            block: Index of the block in its stage.
            windows: The windows it computed.
        """
        if self.window_observer is not None:
            name = self._importance.name
            self.window_observer(WindowSelection(stage, block, windows, name))
