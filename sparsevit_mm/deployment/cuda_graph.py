"""Captures a backbone in a CUDA graph, which launches all its kernels at once for one shape."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sparsevit_mm.errors import ConfigError

_WARM_UP = 3
"""Number of forward passes before the capture; the first one builds index maps and kernels."""


def capture(backbone: nn.Module, images: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Captures the inference of a backbone in a CUDA graph.

    The graph keeps the schedule and the weights of the time of the capture. Capture again after
    either changes.

    Args:
        backbone: A backbone in evaluation mode on a GPU.
        images: (B, C, H, W) on that GPU, of the shape to serve, with any values.

    Returns:
        A function from images of this shape to output maps, which its next call overwrites.

    Raises:
        ConfigError: If the images are not on a GPU or the backbone is in training mode.
    """
    if not images.is_cuda or backbone.training:
        raise ConfigError(
            f'images are on {images.device} and training is {backbone.training}, but for a CUDA '
            'graph images must be on a GPU and training must be False.'
        )
    stored = images.clone()
    # Warm-up before a capture must run on a side stream.
    stream = torch.cuda.Stream(images.device)
    stream.wait_stream(torch.cuda.current_stream(images.device))
    with torch.no_grad(), torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            backbone(stored)
    torch.cuda.current_stream(images.device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        maps = backbone(stored)

    def replay(images: Tensor) -> tuple[Tensor, ...]:
        stored.copy_(images)
        graph.replay()
        return maps

    return replay
