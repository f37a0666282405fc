"""Finds the checkpoint that an interrupted training goes on from, and checks what is in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from sparsevit_mm.checkpoints.reading import read_content
from sparsevit_mm.errors import CheckpointError, SparseVitError

_POINTER = 'last_checkpoint'
_MOST_ITERATIONS = 10**12
"""No training has as many; a broken number in a file may have."""


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """Finds the checkpoint that a run in a folder goes on from.

    That is the one that mmengine's file `last_checkpoint` names, also where the folder was moved.
    If that cannot be read, it is the newest file in the folder that can, and a line says so.

    Args:
        work_dir: The folder; it need not exist.

    Returns:
        The path, or None if there is nothing to go on from.

    Raises:
        CheckpointError: If there was a run, but none of its checkpoints can be read.
    """
    folder = Path(work_dir)
    pointer, wrong = folder / _POINTER, ''
    for path in _named(pointer):
        wrong = _why_not(path)
        if not wrong:
            return str(path)
    files = sorted(folder.glob('*.pth'), key=lambda path: path.stat().st_mtime, reverse=True)
    wrong = wrong or f'{pointer} names no file'
    for path in files:
        if not _why_not(path, with_optimizer=True):
            if pointer.is_file() and is_main_process():
                print(f'{wrong}: going on from {path} instead.')
            return str(path)
    if pointer.is_file():
        raise CheckpointError(
            f'the run in {folder} cannot be resumed: {wrong}, and no other checkpoint there can be '
            'read; start again without --resume.'
        )
    return None


def check_resumable(path: str, cfg: Config) -> None:
    """Checks that a training of a config can go on from a checkpoint.

    Args:
        path: The file or address.
        cfg: The whole config.

    Raises:
        CheckpointError: If the file says not, or wrongly, how far its training was.
    """
    wrong = _why_not(path)
    if wrong:
        raise CheckpointError(f'{wrong}.')
    meta, loop = read_content(path)['meta'], cfg.get('train_cfg') or {}
    limits = {'epoch': loop.get('max_epochs'), 'iter': loop.get('max_iters')}
    for name, limit in limits.items():
        if limit is not None and meta[name] > limit:
            raise CheckpointError(
                f'the checkpoint {path} was saved at {name} {meta[name]}, but train_cfg ends the '
                f'training at {limit}.'
            )


def one_sentence_on_resuming(runner: Runner) -> None:
    """Lets a runner say in one sentence that a checkpoint does not fit its optimizer or schedules.

    Args:
        runner: Its method `resume` is replaced.
    """
    resume = runner.resume

    def resume_or_say(filename: str, *args: Any, **kwargs: Any) -> None:
        try:
            resume(filename, *args, **kwargs)
        except SparseVitError:
            raise
        except (
            ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError,
            ValueError,
        ) as error:  # fmt: skip
            reason = (str(error).strip().splitlines() or [''])[0].rstrip('.')
            raise CheckpointError(
                f'training cannot go on from {filename}, whose state is not that of this config '
                f'({type(error).__name__}: {reason}).'
            ) from error

    runner.resume = resume_or_say


def _named(pointer: Path) -> Iterator[Path]:
    """The file that `last_checkpoint` names: where it was, and where the folder is now."""
    try:
        name = pointer.read_text(errors='replace').strip()
    except OSError:
        return
    if name and '\0' not in name:
        yield Path(name)
        yield pointer.parent / Path(name).name


def _why_not(path: str | Path, with_optimizer: bool = False) -> str:
    """Why a training cannot go on from a file; empty if it can."""
    try:
        content = read_content(path)
    except CheckpointError as error:
        return str(error).rstrip('.')
    parts = ('meta', 'state_dict', 'message_hub', *(('optimizer',) if with_optimizer else ()))
    for part in parts:
        if not isinstance(content, Mapping) or not isinstance(content.get(part), Mapping):
            return f'the checkpoint {path} has no {part}, so it is not one of a training'
    for name in ('epoch', 'iter'):
        number = content['meta'].get(name)
        if isinstance(number, bool) or not isinstance(number, int):
            return (
                f'the checkpoint {path} was saved at {name} {_short(number)}, but that must be a '
                'whole number'
            )
        if not 0 <= number <= _MOST_ITERATIONS:
            return (
                f'the checkpoint {path} was saved at {name} {_short(number)}, but that must lie '
                f'between 0 and {_MOST_ITERATIONS}'
            )
    return ''


def _short(value: Any) -> str:
    if isinstance(value, int) and abs(value) > _MOST_ITERATIONS:
        return f'about 2**{abs(value).bit_length() - 1}'
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + '...'
