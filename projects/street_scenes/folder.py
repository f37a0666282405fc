"""Makes a data folder completely or not at all, with several processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import cv2

from sparsevit_mm.errors import ConfigError

_SETTINGS_FILE = 'settings.json'

_Job = TypeVar('_Job')
_Result = TypeVar('_Result')


def make_folder(root: Path, settings: Mapping[str, Any], write: Callable[[Path], None]) -> bool:
    """Makes a data set's folder, unless it exists with the same settings.

    Everything is written beside the folder and moved into place at the end: a folder is complete or
    absent.

    Args:
        root: The folder; `settings.json` in it holds the settings it was made with.
        settings: Settings of the data set; a folder made with other settings is replaced.
        write: Writes the content into the new folder it is given.

    Returns:
        Whether anything was made.

    Raises:
        ConfigError: If the folder cannot be written, or holds something else.
    """
    found = _settings_of(root)
    if found == settings:
        return False
    if found is None and root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise ConfigError(
            f'the data folder {root} holds something that is no demo data set: name another folder '
            'or remove it.'
        )
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f'.{root.name}-', dir=root.parent))
    except OSError as error:
        raise ConfigError(f'the data folder {root} cannot be written: {error.strerror}.') from None
    try:
        new = scratch / 'new'
        new.mkdir()
        write(new)
        (new / _SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + '\n')
        if root.exists():
            root.rename(scratch / 'old')
        new.rename(root)
    except OSError as error:
        raise ConfigError(f'the data folder {root} cannot be written: {error.strerror}.') from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return True


def _settings_of(root: Path) -> dict[str, Any] | None:
    """The settings a folder was made with; None if it is no demo data set."""
    try:
        return json.loads((root / _SETTINGS_FILE).read_text())
    except (OSError, ValueError):
        return None


def in_processes(
    task: Callable[[_Job], _Result],
    jobs: Sequence[_Job],
    workers: int | None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[_Result]:
    """Runs jobs in several processes.

    Args:
        task: Function that does a job.
        jobs: The jobs.
        workers: Processes; all cores by default.
        progress: Called after every job with the number done and the total.

    Yields:
        Results in the order of the jobs.
    """
    for done, result in enumerate(_run(task, jobs, workers or os.cpu_count() or 1), start=1):
        if progress:
            progress(done, len(jobs))
        yield result


def _run(task: Callable[[_Job], _Result], jobs: Sequence[_Job], workers: int) -> Iterator[_Result]:
    if workers == 1:
        yield from map(task, jobs)
        return
    # Forked workers need not import torch again, which takes longer than drawing the scenes.
    method = 'fork' if sys.platform == 'linux' else None
    context = multiprocessing.get_context(method)
    # OpenCV's threads would be missing in a fork, which then waits for them for ever.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ProcessPoolExecutor(
            workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)
        ) as pool:
            yield from pool.map(task, jobs, chunksize=4)
    finally:
        cv2.setNumThreads(threads)
