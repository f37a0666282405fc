"""Counts the multiply-accumulates of a whole model while it runs.

torch's counter sees every matrix product and convolution of any framework, and the module it
belongs to. As usual in papers, norms, activations, pooling and custom operators (RoIAlign, NMS,
deformable sampling) are not counted. Nor is what follows from the weights alone, which
the inference form computes once.
"""

from __future__ import annotations

from collections import defaultdict
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
        parts: MACs of each direct child of the model, such as backbone, neck and heads, except
            children without any.
    """

    total: int
    parts: dict[str, int]


@torch.no_grad()
def model_macs(model: nn.Module, run: Callable[[], Any]) -> ModelMacs:
    """Counts the MACs of one run of a model.

    Args:
        model: The model.
        run: Runs the model once, such as `lambda: model(images)`.

    Returns:
        The MACs, half the number of floating-point operations that torch counts.
    """
    counter = FlopCounterMode(display=False)
    from_weights: dict[str, int] = defaultdict(int)
    inner: dict[str, int] = defaultdict(int)
    by_module: dict[str, int] = defaultdict(int)  # torch's counter has them from 2.2 on alone
    handles = _note_calls_of_each_other(model, counter, inner)
    handles += [
        handle
        for name, module in model.named_modules()
        if getattr(module, 'follows_from_weights', False)
        for handle in _note_flops(module, counter, from_weights, name.partition('.')[0])
    ]
    for name, module in model.named_modules():
        handles += _note_flops(module, counter, by_module, name)
    # torch counts neither our kernels nor, on some devices, fused attention; in plain form both are
    # matrix products.
    try:
        with plain_attention(), use('pytorch'), counter:
            run()
    finally:
        for handle in handles:
            handle.remove()
    parts = {
        name: (_inside(by_module, child, name) - from_weights[name] - inner[name]) // 2
        for name, child in model.named_children()
    }
    return ModelMacs(
        total=(counter.get_total_flops() - sum(from_weights.values())) // 2,
        parts={name: macs for name, macs in parts.items() if macs},
    )


def _note_calls_of_each_other(
    model: nn.Module, counter: FlopCounterMode, inner: dict[str, int]
) -> list[Any]:
    """Hooks that add what a child computes inside another, A, to `inner[A]`, as A's own it is not.

    A sparse neck calls the head for its coarse pass.
    """
    running: list[tuple[str, int]] = []

    def before(name: str) -> Callable[..., None]:
        return lambda *_: running.append((name, counter.get_total_flops()))

    def after(*_: Any) -> None:
        start = running.pop()[1]
        if running:
            inner[running[-1][0]] += counter.get_total_flops() - start

    handles: list[Any] = []
    for name, child in model.named_children():
        handles.append(child.register_forward_pre_hook(before(name)))
        handles.append(child.register_forward_hook(after))
    return handles


def _note_flops(
    module: nn.Module, counter: FlopCounterMode, found: dict[str, int], name: str
) -> tuple[Any, Any]:
    """Hooks that add what a module computes to `found[name]`."""

    def before(*_: Any) -> None:
        found[name] -= counter.get_total_flops()

    def after(*_: Any) -> None:
        found[name] += counter.get_total_flops()

    return module.register_forward_pre_hook(before), module.register_forward_hook(after)


def _inside(by_module: Mapping[str, int], module: nn.Module, name: str) -> int:
    """Operations of a module, or of its children where its `forward` was called past it."""
    children = sum(
        _inside(by_module, child, f'{name}.{child_name}')
        for child_name, child in module.named_children()
    )
    return max(by_module.get(name, 0), children)
