"""Computes the neck and head of a model in two passes, a coarse one and a sparse one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.sparse_heads.convolution import (
    CoarsePass,
    SparseConv2d,
    SparsePass,
    pooled,
    repeat_module,
    running,
    running_pass,
)
from sparsevit_mm.models.sparse_heads.finding import Part, Parts, evaluating, small_maps
from sparsevit_mm.models.sparse_heads.ranking import (
    entropy_scores,
    kept_windows,
    objectness_scores,
)
from sparsevit_mm.ops.backend import is_certain, thread_id
from sparsevit_mm.ops.tokens import to_nchw
from sparsevit_mm.ops.windows import WindowGrid, Windows

RANKINGS = ('head', 'backbone')
WINDOW_SIZE = 7
"""Side of a window in stages of a backbone that have none."""

Maps = Sequence[Tensor]


class TwoPasses:
    """How the neck and head of one model are computed.

    It takes the place of `forward` of both; everything that the model does around them stays. With
    head ratios of 0 in the backbone's schedule, they compute what they always did.

    Args:
        parts: What follows the backbone.
        pool: Side of the squares of tokens that the coarse pass averages, at least 2.
        ranking: What windows are ranked by: 'head' asks the coarse pass, 'backbone' takes the
            backbone's importance at the end of each stage.

    Attributes:
        parts: What follows the backbone.
        pool: As above.
        ranking: As above.
        window_observer: Called with the stage and the windows that neck and head compute at its
            resolution (None for all) in every forward, if set.

    Raises:
        ConfigError: If an argument is not allowed.
    """

    window_observer: Callable[[int, Windows | None], None] | None = None

    def __init__(self, parts: Parts, pool: int = 2, ranking: str = 'head') -> None:
        if not isinstance(pool, int) or isinstance(pool, bool) or pool < 2:
            raise ConfigError(f'pool is {pool!r}, but must be a whole number of at least 2.')
        if ranking not in RANKINGS:
            raise ConfigError(f"ranking is {ranking!r}, but must be 'head' or 'backbone'.")
        self.parts, self.pool, self.ranking = parts, pool, ranking
        # By thread, the pass that the neck began, its maps, and the same maps as others get them.
        self._begun: dict[int, tuple[SparsePass, Maps, Maps]] = {}

    @property
    def stages(self) -> tuple[bool, ...]:
        """At the resolutions of which stages windows can be skipped."""
        if self.ranking == 'head':
            return self.parts.stages
        with_windows = self.parts.backbone.arch.has_windows
        return tuple(can and has for can, has in zip(self.parts.stages, with_windows))

    def attach(self) -> None:
        """Takes the place of the `forward` of neck and head, and tells the backbone.

        No parameter changes its name.

        Raises:
            ConfigError: If the neck or head does not compute pooled maps.
        """
        for part in self.parts.all:
            for name, conv in part.module.named_modules():
                if type(conv) is nn.Conv2d:
                    conv.__class__ = SparseConv2d
                if isinstance(conv, SparseConv2d):
                    conv.in_windows = name in part.calls
                    conv.repeats = name in part.repeated
                    conv.pools_stage = part.late.get(name)
            for name in part.repeated_modules:
                repeat_module(part.module.get_submodule(name))
            module: Any = part.module
            module.two_passes, module.forward = self, MethodType(_forward, module)
        backbone = self.parts.backbone
        backbone.head_stages = self.stages
        backbone.stage_scores = {} if self.ranking == 'backbone' else None
        try:
            self._try()
        except RuntimeError as error:
            self.detach()
            head = type(self.parts.head.module).__name__
            raise ConfigError(
                f'{self.parts.head.name} is {head}, which cannot compute windows: it or the neck '
                f'does not take pooled maps ({error}).'
            ) from error

    def detach(self) -> None:
        """Gives neck and head their own `forward` back."""
        for part in self.parts.all:
            del part.module.forward, part.module.two_passes
            for name in part.repeated_modules:
                del part.module.get_submodule(name).forward
            for conv in part.module.modules():
                if isinstance(conv, SparseConv2d):
                    conv.__class__ = nn.Conv2d  # type: ignore[assignment]
        backbone = self.parts.backbone
        backbone.head_stages = backbone.stage_scores = None

    def compute(self, module: nn.Module, maps: Maps) -> Any:
        """Computes the neck or the head.

        Args:
            module: One of them.
            maps: (B, C, H, W) each: those of the backbone, or of the neck.

        Returns:
            What it returned before it was made sparse.
        """
        ratios = self.parts.backbone.pruning_schedule.head_ratios
        own_forward = type(module).forward
        if not ratios or running_pass() is not None or is_certain(maps[0].shape[0] == 0):
            return own_forward(module, maps)
        work, own_maps, given = self._begun.pop(thread_id(), (None, (), ()))
        goes_on = len(maps) == len(given) and all(a is b for a, b in zip(maps, given))
        if work is not None and module is self.parts.head.module and goes_on:
            with running(work):
                return own_forward(module, own_maps)
        return self._two_passes(module, maps, ratios)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what a forward left behind."""
        return {**self.__dict__, '_begun': {}}

    @torch.no_grad()
    def _try(self) -> None:
        """Computes small maps: all stages with half of their windows, and every stage alone."""
        backbone, neck = self.parts.backbone, self.parts.whole_neck
        own, maps, can = backbone.pruning_schedule, small_maps(backbone), np.array(self.stages)
        if backbone.stage_scores is not None:
            for stage, level in zip(sorted(backbone.out_indices), maps):
                grid = self._grid(stage, (level.shape[2], level.shape[3]))
                backbone.stage_scores[thread_id(), stage] = level.new_zeros(1, grid.num_windows)
        try:
            for chosen in [can, *(np.eye(len(can), dtype=bool) & can)]:
                backbone.pruning_schedule = replace(own, head_ratios=(0.5 * chosen).tolist())
                with evaluating(*(part.module for part in self.parts.all)):
                    self.parts.head.module(maps if neck is None else neck(maps))
        finally:
            backbone.pruning_schedule = own

    def _two_passes(self, module: nn.Module, maps: Maps, ratios: Sequence[float]) -> Any:
        parts, head = self.parts, self.parts.head
        part = next(part for part in parts.all if part.module is module)
        is_head = part is head
        own_forward = type(module).forward
        levels = parts.levels if is_head else tuple(sorted(parts.backbone.out_indices))
        sizes = {s: (m.shape[2], m.shape[3]) for s, m in zip(levels, maps) if s is not None}
        grids = {s: self._grid(s, size) for s, size in sizes.items() if ratios[s]}
        coarse = CoarsePass(self.pool, frozenset(grids))
        with evaluating(*(one.module for one in parts.all)), running(coarse):
            outputs = own_forward(module, self._pooled(part, maps, levels, coarse.stages))
            predictions = outputs if is_head else head.module(outputs)
        scores = self._scores(predictions, grids)
        windows = {}
        for stage, grid in grids.items():
            allocation = parts.backbone.allocation
            kept = kept_windows(scores[stage], grid, ratios[stage], allocation)
            windows[sizes[stage]] = kept
            if self.window_observer is not None:
                self.window_observer(stage, kept)
        found = {size: kept for size, kept in windows.items() if kept is not None}
        work = SparsePass(self.pool, coarse.calls, found)
        with running(work):
            result = own_forward(module, maps)
        if is_head:
            return result
        # Others read the maps of a neck, too, and some operators insist on this layout. The
        # inference form hands them what they insist on, and reads channels-last maps itself.
        given = result
        if not parts.backbone.is_channels_last:
            given = type(result)(map(to_nchw, result))
        self._begun[thread_id()] = work, result, given
        return given

    def window_size(self, stage: int) -> int:
        """Side of the windows at the resolution of a stage, in tokens."""
        size: int = self.parts.backbone.arch.window_sizes[stage] or WINDOW_SIZE
        return size

    def _grid(self, stage: int, size: tuple[int, int]) -> WindowGrid:
        return WindowGrid(*size, self.window_size(stage))

    def _pooled(
        self, part: Part, maps: Maps, levels: Sequence[int | None], stages: frozenset[int]
    ) -> Maps:
        """What the coarse pass gives a part: its maps, pooled unless the part pools them later."""
        if part.late:
            return maps
        # The levels of a neck meet, so all of them have to be coarse.
        every = part is not self.parts.head
        return [
            pooled(level, self.pool) if every or stage in stages else level
            for level, stage in zip(maps, levels)
        ]

    def _scores(self, predictions: Any, grids: dict[int, WindowGrid]) -> dict[int, Tensor]:
        """(B, windows) scores of the windows of each stage."""
        backbone, levels = self.parts.backbone, self.parts.levels
        if self.ranking == 'backbone':
            return {stage: backbone.stage_scores[thread_id(), stage] for stage in grids}
        if self.parts.segments:
            return {s: entropy_scores(predictions.detach(), grid) for s, grid in grids.items()}
        return {
            s: objectness_scores(predictions[0][levels.index(s)].detach(), grid, self.pool)
            for s, grid in grids.items()
        }


def _forward(module: Any, maps: Maps) -> Any:
    return module.two_passes.compute(module, maps)
