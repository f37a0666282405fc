"""What follows from a module's parameters, remembered in evaluation.

What is remembered has no graph and is dropped when the mode changes or a parameter is written or
moved, so a model can be copied, averaged and saved at any time. Everything is computed anew in
training, and where the parameters want no gradient: those of a running average or a teacher are
written through `.data`, which leaves no trace.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor, nn

from sparsevit_mm.ops.compat import autocast_dtype
from sparsevit_mm.ops.exporting import in_graph

MOST_KEYS = 4
"""Results a module remembers: for portrait and landscape, and one more of each."""

MOST_NUMBERS = 2**24
"""Results of more numbers than this (64 MiB of float32) are computed anew instead."""


class Remembered:
    """Results of one module by key."""

    def __init__(self) -> None:
        self._results: OrderedDict[Hashable, tuple[Any, Tensor]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._results)

    def forget(self) -> None:
        """Drops everything, as a module does when its mode changes."""
        self._results.clear()

    def get(
        self,
        training: bool,
        parameters: list[nn.Parameter],
        key: Hashable,
        compute: Callable[[], Tensor],
    ) -> Tensor:
        """A result that was remembered for the parameters as they are, or a new one.

        Args:
            training: Whether the module is in training.
            parameters: All that the result follows from, beside the key.
            key: What else it follows from.
            compute: Makes the result.
        """
        if not _may_remember(training, parameters):
            return compute()
        state = [
            (p._version, p.data_ptr(), p.dtype, p.device, autocast_dtype(p.device.type))
            for p in parameters
        ]
        found = self._results.get(key)
        if found is None or found[0] != state:
            # Made outside inference mode: it may serve a forward outside it later.
            with torch.inference_mode(False), torch.no_grad():
                found = state, compute()
            if found[1].numel() <= MOST_NUMBERS:
                self._results[key] = found
        if key in self._results:
            self._results.move_to_end(key)
        while len(self._results) > MOST_KEYS:
            self._results.popitem(last=False)
        return found[1]


def _may_remember(training: bool, parameters: list[nn.Parameter]) -> bool:
    if training or torch.is_grad_enabled() or in_graph():
        return False
    return all(parameter.requires_grad for parameter in parameters)
