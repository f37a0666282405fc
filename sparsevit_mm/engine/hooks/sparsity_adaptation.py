"""Sparsity-aware adaptation: a random schedule for every training iteration."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from sparsevit_mm.checks.schedules import check_ranking
from sparsevit_mm.engine.objects import check_objects, check_objects_stay, objects_of_batch
from sparsevit_mm.pruning.importance import check_importance_name
from sparsevit_mm.pruning.prunable import PrunableBackbone, find_prunable_backbone
from sparsevit_mm.pruning.schedule import DEFAULT_CHOICES, PruningSchedule, checked_choices
from sparsevit_mm.registry import HOOKS


@HOOKS.register_module()
class SparsityAdaptationHook(Hook):
    """Trains the weights for every schedule at once (SparseViT, sparsity-aware adaptation).

    Every iteration draws one ratio for each pair of blocks, or each block, sorted ascending in each
    stage; and if the neck and head are sparse, one for each stage at whose resolution they compute
    windows. The draw of an iteration depends on the seed and the iteration alone, so it is the same
    on every rank and after a resume. For validation, and when training ends, the backbone gets back
    the schedule it had.

    Args:
        choices: Ratios to draw from, uniformly.
        begin: First iteration, counted from 0, that draws; earlier ones train the backbone's own
            schedule.
        seed: Seed of the draws.
        per: What gets a ratio of its own, a 'pair' of blocks as in the paper, or a 'block'; best
            what the search will choose for.
        head_choices: Ratios of neck and head to draw from; None for `choices`, [0] to keep them
            dense.
        importance: What windows are ranked by from the beginning of training, validation or testing
            on; None keeps the backbone's. Named in the backbone instead, all tools see it.
        objects: Classes whose boxes or labels 'learned' learns from; None for all but background.

    Raises:
        ConfigError: If `choices` is empty or holds a ratio out of range, `per` or `importance` is
            unknown, the backbone has no schedule, the config's backbone names another importance,
            or a learned one has no labels to learn from.
    """

    # Later than WindowPruningHook, which sets what training starts from.
    priority = 'BELOW_NORMAL'

    def __init__(
        self,
        choices: Sequence[float] = DEFAULT_CHOICES,
        begin: int = 0,
        seed: int = 0,
        per: str = 'pair',
        importance: str | None = None,
        head_choices: Sequence[float] | None = None,
        objects: Sequence[str] | None = None,
    ) -> None:
        self.choices, self.per = checked_choices(choices, per), per
        self.head_choices = None if head_choices is None else checked_choices(head_choices, per)
        if importance is not None:
            check_importance_name(importance)
        self.importance = importance
        self.objects = objects
        self.begin = begin
        self.seed = seed
        self._own_schedule: PruningSchedule | None = None

    def draw(
        self,
        iteration: int,
        depths: Sequence[int],
        has_windows: Sequence[bool] | None = None,
        head_stages: Sequence[bool] | None = None,
    ) -> PruningSchedule:
        """The schedule of an iteration.

        Args:
            iteration: Number of the training iteration, counted from 0.
            depths: Blocks in each stage.
            has_windows: Which stages attend in windows, None for all; the others stay dense.
            head_stages: At the resolutions of which stages the neck and head compute windows.
        """
        rng = random.Random(f'{self.seed}/{iteration}')
        return PruningSchedule.sample(
            depths, rng, self.choices, self.per, has_windows, head_stages, self.head_choices
        )

    def before_run(self, runner: Runner) -> None:
        """Sets the importance, if one was given."""
        if self.importance is not None:
            backbone = find_prunable_backbone(runner.model)
            check_ranking(runner.cfg, self.importance, type(self).__name__, backbone)
            backbone.importance = self.importance

    def before_train(self, runner: Runner) -> None:
        """Checks that objects are known and stay where they are."""
        if self.objects is not None:
            check_objects(self.objects, _classes(runner))
        if find_prunable_backbone(runner.model).importance.is_learned:
            check_objects_stay(runner.model)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Draws and sets the iteration's schedule, and shows objects to whom learns from them."""
        if runner.iter < self.begin:
            return
        backbone = find_prunable_backbone(runner.model)
        if self._own_schedule is None:
            self._own_schedule = backbone.pruning_schedule
        if backbone.importance.is_learned:
            found = objects_of_batch(data_batch, runner.model, _classes(runner), self.objects)
            _show(backbone, found)
        arch, heads = backbone.arch, backbone.head_stages
        backbone.pruning_schedule = self.draw(runner.iter, arch.depths, arch.has_windows, heads)
        mean_ratio = _mean_ratio(backbone)
        runner.message_hub.update_scalar('train/pruning_ratio', mean_ratio)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Takes the objects away: they are those of this batch alone."""
        _show(find_prunable_backbone(runner.model), None)

    def before_val(self, runner: Runner) -> None:
        """Gives the backbone its own schedule back."""
        self._restore(runner)

    def after_train(self, runner: Runner) -> None:
        """Gives the backbone its own schedule back."""
        self._restore(runner)

    def _restore(self, runner: Runner) -> None:
        if self._own_schedule is not None:
            find_prunable_backbone(runner.model).pruning_schedule = self._own_schedule
            self._own_schedule = None


def _classes(runner: Runner) -> Sequence[str]:
    found = getattr(runner.train_dataloader.dataset, 'metainfo', {})
    # Data sets that are joined and differ in anything, such as colors, have one each.
    first = found[0] if isinstance(found, list) else found
    return first.get('classes') or ()


def _show(backbone: Any, objects: Tensor | None) -> None:
    """Shows object pixels to the importance of a backbone, or of each of several twins."""
    for one in getattr(backbone, 'backbones', [backbone]):
        one.importance.objects = objects


def _mean_ratio(backbone: PrunableBackbone) -> float:
    stages = zip(backbone.pruning_schedule.ratios, backbone.arch.has_windows)
    ratios = [ratio for stage, has_windows in stages if has_windows for ratio in stage]
    return sum(ratios) / len(ratios)
