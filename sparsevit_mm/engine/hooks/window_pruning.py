"""Sets a pruning schedule before training, validation or testing, and logs what was kept."""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor

from sparsevit_mm.checks.schedules import check_importance
from sparsevit_mm.pruning.allocation import Allocation
from sparsevit_mm.pruning.prunable import find_prunable_backbone
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.pruning.selection import WindowSelection
from sparsevit_mm.registry import HOOKS

_PERCENTILES = (50, 95, 99)


@HOOKS.register_module()
class WindowPruningHook(Hook):
    """Assigns a pruning schedule to the model's backbone.

    The schedule is set once before training and again before every validation and test, so that a
    `SparsityAdaptationHook`, which draws another one in every training iteration, does not reach
    into them.

    Args:
        schedule: Any form `pruning_ratios` takes, or the path of a JSON file that a search or
            `PruningSchedule.save` wrote; None keeps the backbone's own. If it names an importance,
            the backbone ranks by that one.
        log_kept: Whether to log the share of windows each stage computes, as `kept_windows/stage0`
            and so on, under `train/` and `val/`; visualization back ends such as TensorBoard
            receive it with the other scalars. Where images share a budget, evaluation also logs the
            shares that 50, 95 and 99% of the images do not exceed, as `kept_windows/stage0_p50`.
        interval: Training iterations between two records of the kept shares.

    Raises:
        ConfigError: If the file holds no schedule, the backbone has none, or the schedule does not
            fit the backbone or names another importance than the config's backbone does.
    """

    priority = 'NORMAL'

    def __init__(self, schedule: Any = None, log_kept: bool = False, interval: int = 50) -> None:
        self.schedule = (
            PruningSchedule.load(schedule) if isinstance(schedule, (str, Path)) else schedule
        )
        self.log_kept = log_kept
        self.interval = interval
        self._kept: dict[int, list[list[Tensor]]] = defaultdict(list)  # by stage, then forward

    def before_train(self, runner: Runner) -> None:
        """Sets the schedule."""
        self._apply(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Sets the schedule and starts to count kept windows."""
        self._before_evaluation(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Logs the kept shares over the validation set."""
        self._after_evaluation(runner, 'val')

    def before_test_epoch(self, runner: Runner) -> None:
        """Sets the schedule and starts to count kept windows."""
        self._before_evaluation(runner)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Logs the kept shares over the test set."""
        self._after_evaluation(runner, 'test')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Counts kept windows in the iterations that are logged."""
        if self.log_kept and self.every_n_train_iters(runner, self.interval):
            self._observe(runner)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Logs the kept shares of the iteration."""
        if self.log_kept and self.every_n_train_iters(runner, self.interval):
            self._report(runner, 'train')

    def _apply(self, runner: Runner) -> None:
        backbone = find_prunable_backbone(runner.model)
        if self.schedule is not None:
            check_importance(self.schedule, runner.cfg, backbone)
            self._warn_of_scale(runner)
            backbone.pruning_schedule = self.schedule

    def _warn_of_scale(self, runner: Runner) -> None:
        wanted, own = getattr(self.schedule, 'scale', 1.0), runner.cfg.get('input_scale', 1.0)
        if wanted not in (1.0, own):
            print_log(
                f'the schedule was found at an input scale of {wanted:g}, but the pipelines of '
                'this run are taken as they are: scale them, and set input_scale in the config.',
                'current',
                logging.WARNING,
            )

    def _before_evaluation(self, runner: Runner) -> None:
        self._apply(runner)
        if self.log_kept:
            self._observe(runner)

    def _after_evaluation(self, runner: Runner, mode: str) -> None:
        if self.log_kept:
            self._report(runner, mode)

    def _observe(self, runner: Runner) -> None:
        self._kept.clear()
        find_prunable_backbone(runner.model).window_observer = self._count

    def _count(self, selection: WindowSelection) -> None:
        forwards = self._kept[selection.stage]
        if selection.block == 0:
            forwards.append([])
        forwards[-1].append(selection.shares)

    def _report(self, runner: Runner, mode: str) -> None:
        backbone = find_prunable_backbone(runner.model)
        backbone.window_observer = None
        is_shared = backbone.allocation != Allocation() and mode != 'train'
        for stage, forwards in sorted(self._kept.items()):
            images = torch.cat([torch.stack(blocks).mean(0) for blocks in forwards]).double()
            found = {'': images.mean()}
            if is_shared:
                found |= {f'_p{p}': torch.quantile(images, p / 100) for p in _PERCENTILES}
            for suffix, share in found.items():
                name = f'{mode}/kept_windows/stage{stage}{suffix}'
                runner.message_hub.update_scalar(name, float(share))
