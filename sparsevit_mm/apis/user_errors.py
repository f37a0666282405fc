"""Ends a command on an error that the user can fix: one sentence, exit code 1."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator

from sparsevit_mm.errors import SparseVitError
from sparsevit_mm.files import NO_ROOM


@contextlib.contextmanager
def user_errors_exit() -> Iterator[None]:
    """Ends the process with one sentence and exit code 1 on an error that the user can fix.

    A full disk is one, whatever was being written. Every other error keeps its traceback.
    """
    warnings.filterwarnings('ignore', message='pkg_resources is deprecated')
    # A line that the log file has no room for is lost without a traceback.
    raises, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        what = f'the file {error.filename}' if error.filename else 'a file'
        print(f'error: {what} cannot be written: {error.strerror}.', file=sys.stderr)
        raise SystemExit(1) from None
    except SparseVitError as error:
        # From a worker of a data loader it comes with the worker's traceback before it.
        sentence = str(error).rpartition(f'{type(error).__name__}: ')[2].strip()
        print(f'error: {sentence}', file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        logging.raiseExceptions = raises
