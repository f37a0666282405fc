"""Ends a command on an error that the user can fix: one sentence, exit code 1."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator

from sparsevit_mm.errors import SparseVitError


@contextlib.contextmanager
def user_errors_exit() -> Iterator[None]:
    """Ends the process with one sentence and exit code 1 on an error that the user can fix.

    Every other error keeps its traceback.
    """
    warnings.filterwarnings('ignore', message='pkg_resources is deprecated')
    try:
        yield
    except SparseVitError as error:
        # From a worker of a data loader it comes with the worker's traceback before it.
        sentence = str(error).rpartition(f'{type(error).__name__}: ')[2].strip()
        print(f'error: {sentence}', file=sys.stderr)
        raise SystemExit(1) from None
