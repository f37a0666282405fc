"""Which convolutions of a neck and head compute windows, and how many."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import nn

from sparsevit_mm.models.sparse_heads import find_two_passes
from sparsevit_mm.pruning.schedule import PruningSchedule, stage_side
from sparsevit_mm.pruning.selection import num_kept_windows


@dataclass(frozen=True)
class HeadConvolution:
    """A convolution of a neck or head at the resolution of one stage of the backbone.

    Attributes:
        name: Its name in its part of the model, after the part's.
        stage: Index of the stage.
        calls: How often it is called at this resolution in a forward.
        kept: Windows that it computes in each image.
        total: Windows in the grid.
        window_macs: MACs of one window in one call.
    """

    name: str
    stage: int
    calls: int
    kept: int
    total: int
    window_macs: int


def head_convolutions(
    model: nn.Module, height: int, width: int, schedule: PruningSchedule | None = None
) -> tuple[HeadConvolution, ...]:
    """Tells which convolutions of a model's neck and head compute windows, and how many.

    The coarse pass comes on top: the neck and head once more, on the pooled maps of the stages
    whose head ratio is above 0.

    Args:
        model: A model; only one of `make_heads_sparse` has such convolutions.
        height: Height of the network's input in pixels.
        width: Width of the network's input in pixels.
        schedule: The schedule; None for the backbone's own.

    Returns:
        One for each convolution and stage, in the order of the model; none for dense models.
    """
    found = []
    for passes in find_two_passes(model)[-1:]:  # a teacher, who predicts, comes last
        backbone: Any = passes.parts.backbone
        ratios = (schedule or backbone.pruning_schedule).head_ratios
        for part in passes.parts.all:
            for name, calls in part.calls.items():
                conv: Any = part.module.get_submodule(name)
                for stage in sorted(set(calls)):
                    sides = (
                        stage_side(s, stage, backbone.arch.patch_size) for s in (height, width)
                    )
                    size = passes.window_size(stage)
                    total = math.prod(math.ceil(side / size) for side in sides)
                    ratio = ratios[stage] if ratios else 0.0
                    found.append(
                        HeadConvolution(
                            name=f'{part.name}.{name}',
                            stage=stage,
                            calls=calls.count(stage),
                            kept=num_kept_windows(total, ratio),
                            total=total,
                            window_macs=size**2 * conv.weight.numel(),
                        )
                    )
    return tuple(found)
