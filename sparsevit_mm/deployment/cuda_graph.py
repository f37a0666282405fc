"""A backbone as one CUDA graph: all its kernels started at once, for images of one shape."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sparsevit_mm.errors import ConfigError

_WARM_UP = 3
"""Forwards before the capture: index maps, biases and kernels are made in the first."""


def capture(backbone: nn.Module, images: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Captures a backbone's inference in a CUDA graph.

    Schedule and weights are those of the moment; capture again after a change of either.

    Args:
        backbone: A backbone in evaluation on a GPU.
        images: (B, C, H, W) on that GPU, of the shape to serve; values do not matter.

    Returns:
        A function of such images. The maps it returns are overwritten by its next call.

    Raises:
        ConfigError: If the images are not on a GPU or the backbone is in training.
    """
    if not images.is_cuda or backbone.training:
        raise ConfigError(
            f'images are on {images.device} and training is {backbone.training}, but a CUDA graph '
            'needs images on a GPU and a backbone in evaluation.'
        )
    stored = images.clone()
    # Capture wants a stream of its own, on which nothing else waits.
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
