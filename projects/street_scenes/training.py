"""Trains a config quietly: a progress bar on the console, everything else in the work dir."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner, find_latest_checkpoint
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sparsevit_mm.apis.runner import build_runner


def train_with_progress(cfg: Config, console: Console) -> Path:
    """Trains to the end, from where an earlier run of the same config stopped.

    Args:
        cfg: Config of an iteration-based training; its framework must be registered.
        console: Where the progress is shown.

    Returns:
        The last checkpoint. A finished run is not repeated.
    """
    work_dir, max_iters = Path(cfg.work_dir), cfg.train_cfg.max_iters
    last = work_dir / f'iter_{max_iters}.pth'
    if _is_saved(last):
        return last
    cfg.resume, cfg.load_from = True, None
    runner = build_runner(cfg, 'none')
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn('loss {task.fields[loss]}'),
        TimeElapsedColumn(),
        TextColumn('left'),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, redirect_stdout=False) as progress:
        runner.register_hook(TrainingProgressHook(progress), priority='LOWEST')
        runner.train()
    return last


def _is_saved(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end: mmengine notes its name after that."""
    folder = checkpoint.parent
    latest = find_latest_checkpoint(str(folder)) if folder.is_dir() else None
    return latest is not None and Path(latest).name == checkpoint.name and checkpoint.exists()


class TrainingProgressHook(Hook):
    """Shows iterations, the loss and the time that is left.

    Args:
        progress: A rich display with a field `loss`, started and stopped by its owner.
        smoothing: Weight of the past in the running mean of the loss.
    """

    def __init__(self, progress: Progress, smoothing: float = 0.9) -> None:
        self.progress = progress
        self.smoothing = smoothing
        self._loss: float | None = None

    def before_train(self, runner: Runner) -> None:
        """Opens the bar where training starts or goes on."""
        self._task = self.progress.add_task(
            'Training', total=runner.max_iters, completed=runner.iter, loss='-'
        )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Moves the bar."""
        loss = outputs['loss'].item()
        past = loss if self._loss is None else self._loss
        self._loss = self.smoothing * past + (1 - self.smoothing) * loss
        self.progress.update(self._task, completed=runner.iter + 1, loss=f'{self._loss:.2f}')
