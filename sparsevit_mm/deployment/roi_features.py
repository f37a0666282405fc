"""RoI features of two-stage detectors from channels-last maps, in any precision, on a CPU.

mmcv's RoIAlign takes float32 maps row by row and reads them number by number; `ops.roi_align` reads
whole tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from sparsevit_mm.deployment.operators import subclass, with_plain_inputs
from sparsevit_mm.ops.backend import is_plain
from sparsevit_mm.ops.roi_align import roi_align


def sample_tokens(model: nn.Module) -> list[nn.Module]:
    """Makes MMDetection's RoI extractors with plain RoIAlign layers read tokens, in place.

    Args:
        model: The model.

    Returns:
        The extractors.
    """
    changed: list[nn.Module] = []
    if find_spec('mmdet') is None:
        return changed
    from mmcv.ops import RoIAlign
    from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor

    for module in list(model.modules()):
        if not is_plain(module, SingleRoIExtractor):
            continue
        layers = list(module.roi_layers)
        if all(is_plain(layer, RoIAlign) and layer.pool_mode == 'avg' for layer in layers):
            module.__class__ = _reading_tokens(type(module))  # type: ignore[arg-type]
            changed.append(module)
    return changed


@cache
def _reading_tokens(kind: Any) -> type[nn.Module]:
    elsewhere = with_plain_inputs(kind)

    def forward(
        self: Any, feats: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None
    ) -> Tensor:
        """Maps of all levels and (R, 5) regions to (R, C, h, w)."""
        if feats[0].device.type != 'cpu' or torch.is_grad_enabled():
            found: Tensor = elsewhere.forward(self, feats, rois, roi_scale_factor)
            return found
        # A box that is not a number becomes an empty one.
        rois = rois.float().nan_to_num(0, 0, 0)
        levels = self.map_roi_levels(rois, len(feats))
        if roi_scale_factor is not None and len(feats) > 1:
            rois = self.roi_rescale(rois, roi_scale_factor)
        height, width = self.roi_layers[0].output_size
        made = feats[0].new_empty(len(rois), height, width, self.out_channels)
        for number, (feature_map, layer) in enumerate(zip(feats, self.roi_layers)):
            (own,) = (levels == number).nonzero(as_tuple=True)
            sampled = roi_align(
                feature_map,
                rois[own],
                (height, width),
                layer.spatial_scale,
                layer.sampling_ratio,
                layer.aligned,
            )
            made[own] = sampled.permute(0, 2, 3, 1)
        # Box heads flatten or view the features of a region, channel by channel.
        return made.permute(0, 3, 1, 2).contiguous()

    return subclass(kind, forward)
