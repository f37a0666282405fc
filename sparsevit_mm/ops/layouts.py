"""The order in which the numbers of a map lie in memory, as convolutions are fastest with it."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsevit_mm.ops.backend import in_graph

_MANY_CHANNELS = 1024


def for_convolution(feature_map: Tensor) -> Tensor:
    """A map in the layout in which a convolution of it is fastest.

    That is channels-last, which also gathers a token's channels at once. Only oneDNN's float32
    convolutions of many channels are faster on contiguous maps, the change of layout included:
    in a channels-last map, neighbors are so far apart there that they leave the cache.

    Args:
        feature_map: (B, C, H, W).

    Returns:
        The same map; itself in a graph, whose maker chooses layouts.
    """
    if in_graph():
        return feature_map
    if wants_contiguous(feature_map, feature_map.shape[1]):
        return _contiguous(feature_map)
    return channels_last(feature_map)


def wants_contiguous(values: Tensor, channels: int) -> bool:
    """Whether a convolution of so many channels is faster on a contiguous map of such values."""
    is_float = values.device.type == 'cpu' and values.dtype == torch.float32
    return is_float and channels >= _MANY_CHANNELS and not in_graph()


def channels_last(feature_map: Tensor) -> Tensor:
    """A (B, C, H, W) map with the channels of a token side by side; itself in a graph."""
    if in_graph():
        return feature_map
    return feature_map.contiguous(memory_format=torch.channels_last)


def _contiguous(feature_map: Tensor) -> Tensor:
    """Copies images as matrices, which PyTorch transposes in blocks: 6 times faster."""
    is_last = feature_map.is_contiguous(memory_format=torch.channels_last)
    if feature_map.is_contiguous() or not is_last or torch.is_grad_enabled():
        return feature_map.contiguous()
    found = torch.empty_like(feature_map, memory_format=torch.contiguous_format)
    for image, of_image in zip(found.flatten(2), feature_map.permute(0, 2, 3, 1).flatten(1, 2)):
        image.copy_(of_image.t())
    return found
