"""Maps of a batch without images, such as the last part of a split batch."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def maps_of_nothing(network: Any, images: Tensor) -> tuple[Tensor, ...]:
    """Computes the maps of an empty batch, from those of one blank image.

    Parameters get gradients of 0 from them, as processes that train together need; running
    statistics do not change, and no windows are observed.

    Args:
        network: A backbone.
        images: (0, C, H, W).

    Returns:
        The backbone's maps, each of 0 images.
    """
    training, observer = network.training, getattr(network, 'window_observer', None)
    network.eval()
    if observer is not None:
        network.window_observer = None
    try:
        maps = network(images.new_zeros(1, *images.shape[1:]))
    finally:
        network.train(training)
        if observer is not None:
            network.window_observer = observer
    return tuple(each[:0] for each in maps)
