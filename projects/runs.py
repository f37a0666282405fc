"""What the projects' long runs share: progress on the console, and resuming from disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
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

from sparsevit_mm.apis.progress import LoggedProgress
from sparsevit_mm.apis.runner import build_runner
from sparsevit_mm.checks.configs import check_writable_folder
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import replace_text


def check_same_run(work_dir: Path, what: str, seed: int, settings: str) -> None:
    """Writes the fingerprint of a run into its folder, or compares it with the one there.

    Args:
        work_dir: Folder of the run; made if it is missing.
        what: Name of the kind of run, for the file and the error.
        seed: Seed of the run.
        settings: Everything else that the results depend on, as text.

    Raises:
        ConfigError: If the folder cannot be written, or holds a run with other settings.
    """
    check_writable_folder(work_dir, 'work_dir')
    mine = {'seed': seed, 'fingerprint': hashlib.sha256(settings.encode()).hexdigest()}
    path = work_dir / f'{what.replace(" ", "_")}.json'
    if path.exists() and json.loads(path.read_text()) != mine:
        raise ConfigError(
            f'work_dir is {work_dir}, but it holds a {what} with other settings: name another '
            'folder or remove it.'
        )
    replace_text(path, json.dumps(mine) + '\n')


@contextlib.contextmanager
def progress_bar(console: Console, what: str) -> Iterator[Callable[..., None]]:
    """Shows a progress bar.

    Args:
        console: Where it is shown.
        what: Its description.

    Yields:
        A function `(done, total, what=None)` that moves the bar and may change the description.
    """
    columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn()
    with LoggedProgress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task(what, total=None)

        def show(done: int, total: int, what: str | None = None) -> None:
            progress.update(task, completed=done, total=total, description=what)

        yield show


@contextlib.contextmanager
def redirect_output(path: Path) -> Iterator[None]:
    """Sends what libraries print, which would tear a progress bar, to the end of a file."""
    with path.open('a') as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        yield


def hours_of_runs(folder: Path) -> float:
    """Hours by the clock of all trainings, tests and searches below a folder, from their logs.

    A log is named by when it was begun, and its last line was written at the end. A run that was
    taken up again has several.
    """
    seconds = [
        log.stat().st_mtime - time.mktime(time.strptime(log.stem, '%Y%m%d_%H%M%S'))
        for log in folder.rglob('*.log')
        if re.fullmatch(r'\d{8}_\d{6}', log.stem)
    ]
    return sum(seconds) / 3600


def train_with_progress(cfg: Config, console: Console) -> Path:
    """Trains a config with a progress bar, resuming where an earlier run of it stopped.

    Args:
        cfg: Config of an iteration-based training; its framework must be registered.
        console: Where the progress is shown; everything else goes into the work dir.

    Returns:
        The last checkpoint. A finished training is not repeated.
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
    with LoggedProgress(*columns, console=console) as progress:
        runner.register_hook(TrainingProgressHook(progress), priority='LOWEST')
        runner.train()
    return last


def _is_saved(checkpoint: Path) -> bool:
    """Whether a checkpoint is complete: mmengine records its name after writing it."""
    folder = checkpoint.parent
    latest = find_latest_checkpoint(str(folder)) if folder.is_dir() else None
    return latest is not None and Path(latest).name == checkpoint.name and checkpoint.exists()


class TrainingProgressHook(Hook):
    """Shows iterations, loss and remaining time of a training.

    Args:
        progress: A rich display with a field `loss`, started and stopped by its owner.
        smoothing: Weight of the past in the running mean of the loss.
    """

    def __init__(self, progress: Progress, smoothing: float = 0.9) -> None:
        self.progress = progress
        self.smoothing = smoothing
        self._loss: float | None = None

    def before_train(self, runner: Runner) -> None:
        """Opens the bar where training starts or resumes."""
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
