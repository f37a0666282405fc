"""Feature maps in the layout that necks and heads expect, from the one that tokens have."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_first(feature_map: Tensor) -> Tensor:
    """The same map with the numbers of each channel side by side in memory.

    Args:
        feature_map: (B, C, H, W) of any layout; channels-last is what tokens give.

    Returns:
        (B, C, H, W), contiguous.
    """
    in_graph = torch.compiler.is_compiling() or torch.jit.is_tracing()
    transposes = (
        not in_graph
        and feature_map.device.type == 'cpu'
        and feature_map.is_contiguous(memory_format=torch.channels_last)
    )
    if not transposes or feature_map.numel() == 0:
        return feature_map.contiguous()
    # On a CPU, PyTorch transposes matrices block by block, but maps number by number.
    tokens = feature_map.permute(0, 2, 3, 1).flatten(1, 2)
    images = [image.t().contiguous() for image in tokens]
    together = images[0][None] if len(images) == 1 else torch.stack(images)
    return together.view(feature_map.shape)
