"""Work that one of several processes does for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from mmengine.dist import broadcast_object_list, is_main_process

from sparsevit_mm.errors import SparseVitError

_Value = TypeVar('_Value')


def on_main_process(work: Callable[[], _Value]) -> _Value:
    """Does something on the main process; the others get its result, or its error."""
    outcome: list[Any] = [None, None]
    if is_main_process():
        try:
            outcome[0] = work()
        except SparseVitError as error:
            outcome[1] = error
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]
