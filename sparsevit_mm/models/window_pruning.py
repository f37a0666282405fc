"""What every backbone that skips windows has: schedule, importance, allocation, an observer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

from sparsevit_mm.models.fixed_options import FixedOptions
from sparsevit_mm.ops.backend import thread_id
from sparsevit_mm.ops.windows import WindowGrid, Windows
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
        head_stages: At the resolutions of which stages the neck and head behind the backbone can
            skip windows; None if they were not made to.
        importance_state: What the importance has learned, see `Importance`; kept while windows are
            ranked by another one.
        stage_scores: By thread and stage, the (B, windows) scores of the last forward, for heads
            that take the backbone's ranking; None if nobody wants them.
    """

    arch: Any
    window_observer: Callable[[WindowSelection], None] | None = None
    _is_channels_last = False
    head_stages: tuple[bool, ...] | None = None
    stage_scores: dict[tuple[int, int], Tensor] | None = None

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
        self.importance_state: nn.Module | None = None
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
        schedule = PruningSchedule.parse(ratios, self.arch.depths, self.arch.has_windows)
        self._pruning_schedule = schedule.checked_for_heads(self.head_stages)
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
        built = build_importance(importance)
        if built.is_learned:
            if self.importance_state is None:
                place = next(self.parameters()).device
                self.importance_state = built.new_state(self.arch).to(place)
            built = copy(built)  # whoever gave it may give it to another backbone, too
            built.state = self.importance_state
        self._importance = built

    @property
    def allocation(self) -> Allocation:
        """Which images share a budget of windows; assign any form the argument takes."""
        return self._allocation

    @allocation.setter
    def allocation(self, allocation: str | Mapping[str, Any] | Allocation) -> None:
        self._allocation = build_allocation(allocation)

    @property
    def is_channels_last(self) -> bool:
        """Whether it returns maps channels-last, see `keep_channels_last`."""
        return self._is_channels_last

    def keep_channels_last(self) -> None:
        """Returns maps channels-last from now on, as tokens lie, for necks that read them so."""
        self._is_channels_last = True

    def new_ranking(self, batch_size: int) -> WindowRanking:
        """The ranking of the windows of one stage for one forward.

        Args:
            batch_size: Images B.
        """
        return WindowRanking(self._importance, batch_size, self._allocation)

    def score_stage(self, stage: int, tokens: Tensor, height: int, width: int) -> None:
        """Scores the windows of a stage for the neck and head, if they want it.

        Args:
            stage: Index of the stage; one without windows has no scores.
            tokens: (B * H * W, C) of the stage, before its output norm.
            height: Height H of the map in tokens.
            width: Width W of the map in tokens.
        """
        window_size = self.arch.window_sizes[stage]
        if self.stage_scores is None or not window_size:
            return
        grid = WindowGrid(height, width, window_size)
        with torch.no_grad():
            summary = self._importance.summarize(tokens)
            batch_size = tokens.shape[0] // (height * width)
            scores = self._importance.score(summary, grid, batch_size)
        self.stage_scores[thread_id(), stage] = scores

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
