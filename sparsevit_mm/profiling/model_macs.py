"""Multiply-accumulates of a whole model, counted while it runs.

torch's own counter sees every matrix product and convolution, whichever part of which framework
asks for it, and says which module it was in. Norms, activations, pooling and the frameworks' own
operators (RoIAlign, NMS, deformable sampling) are not counted, as usual in the papers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sparsevit_mm.ops.backend import use
from sparsevit_mm.ops.compat import plain_attention


@dataclass(frozen=True)
class ModelMacs:
    """Cost of one run of a model.

    Attributes:
        total: MACs of the run.
        parts: MACs inside each direct child of the model, such as backbone, neck and heads;
            children without any are left out.
    """

    total: int
    parts: dict[str, int]


@torch.no_grad()
def model_macs(model: nn.Module, run: Callable[[], Any]) -> ModelMacs:
    """Counts what a model computes in one run.

    Args:
        model: The model whose parts are told apart.
        run: Runs it once, such as `lambda: model(images)`.

    Returns:
        The MACs, half the floating-point operations that torch counts.
    """
    counter = FlopCounterMode(display=False)
    # Kernels are operators that torch does not count, and so is fused attention on some devices;
    # its plain form is two matrix products.
    with plain_attention(), use('pytorch'), counter:
        run()
    by_module = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    root = type(model).__name__
    parts = {
        name: _inside(by_module, child, f'{root}.{name}') // 2
        for name, child in model.named_children()
    }
    return ModelMacs(
        total=counter.get_total_flops() // 2,
        parts={name: macs for name, macs in parts.items() if macs},
    )


def _inside(by_module: Mapping[str, int], module: nn.Module, name: str) -> int:
    """What was counted in a module, or, if only parts of it were called, in those."""
    if name in by_module:
        return by_module[name]
    return sum(
        _inside(by_module, child, f'{name}.{child_name}')
        for child_name, child in module.named_children()
    )
