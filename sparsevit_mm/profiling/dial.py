"""Which share of a model the dial reaches: what it computes in windows, which ratios can skip."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from sparsevit_mm.profiling.head_windows import head_convolutions
from sparsevit_mm.profiling.macs import backbone_macs
from sparsevit_mm.pruning.prunable import PrunableBackbone
from sparsevit_mm.pruning.schedule import PruningSchedule


@dataclass(frozen=True)
class DialShare:
    """MACs of a model, summed over a batch.

    Attributes:
        dense: Of the whole model at ratio 0.
        windows: The part of them that is computed in windows: blocks of the backbone, and
            convolutions of a sparse neck and head.
        now: Of the whole model with its schedule.
    """

    dense: int
    windows: int
    now: int

    def __str__(self) -> str:
        text = (
            f'The dial reaches {self.windows / self.dense:.1%} of this model: '
            f'{_giga(self.windows)} of {_giga(self.dense)} GMACs are computed in windows.'
        )
        if self.now == self.dense:
            return text
        saved = self.dense - self.now
        return f'{text} Its ratios save {_giga(saved)} GMACs, {saved / self.dense:.1%}.'


def window_macs(
    model: nn.Module, backbone: PrunableBackbone, height: int, width: int, batch: int = 1
) -> int:
    """Counts what a model computes in windows at ratio 0, in the backbone, the neck and the head.

    Args:
        model: The model.
        backbone: Its backbone with a schedule.
        height: Height in pixels of what the backbone sees.
        width: Width in pixels.
        batch: Number of images that the backbone sees.
    """
    dense = PruningSchedule.dense(backbone.arch.depths)
    blocks = backbone_macs(backbone.arch, dense, height, width, batch).blocks
    return sum(block.macs - block.fixed for stage in blocks for block in stage) + batch * sum(
        convolution.calls * convolution.total * convolution.window_macs
        for convolution in head_convolutions(model, height, width)
    )


def _giga(macs: int) -> str:
    return f'{macs / 1e9:.4g}'
