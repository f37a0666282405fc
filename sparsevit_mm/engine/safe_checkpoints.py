"""Lets torch's safe loader read what mmengine saves.

Since torch 2.6 `torch.load` refuses classes it does not know. mmengine's training checkpoints hold
its `HistoryBuffer`, with references to its own statistics methods, and NumPy arrays and scalars, so
resuming fails. Exactly these are allowed here; the safe default stays on.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer


def allow_mmengine_checkpoints() -> None:
    """Adds the classes of mmengine's training checkpoints to torch's allow-list."""
    # Older versions of torch do not refuse them.
    if tuple(int(part) for part in torch.__version__.split('.')[:2]) >= (2, 6):
        torch.serialization.add_safe_globals(_classes())


def _classes() -> list[Any]:
    core = np.core if np.__version__ < '2' else getattr(np, '_core')  # noqa: B009
    multiarray = core.multiarray
    numbers = (np.float32, np.float64, np.int32, np.int64, np.bool_)
    # NumPy 2 renamed the module, and files outlive versions: both names are known.
    rebuilders = [
        (function, f'numpy.{core}.multiarray.{function.__name__}')
        for function in (multiarray._reconstruct, multiarray.scalar)
        for core in ('core', '_core')
    ]
    return [
        HistoryBuffer,
        np.ndarray,
        np.dtype,
        *{type(np.dtype(number)) for number in numbers},
        *rebuilders,
        (_statistics_method, 'builtins.getattr'),
    ]


def _statistics_method(owner: Any, name: str) -> Any:
    """Stands in for the `getattr` by which a pickle names a method of `HistoryBuffer`.

    The real `getattr` would open every attribute of every object to a file; this one knows the
    four statistics that each buffer registers.
    """
    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(f'the attribute {name!r} may not be read from a checkpoint.')
