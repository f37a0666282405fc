"""The real images that a whole model is timed on: some of a data set, all of one size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.profiling.inputs import backbone_input_shape, check_shape

_LOOKED_AT = 16
_TIMED = 5  # odd, so that the odd and the even runs see the same images


@dataclass(frozen=True)
class TimedImages:
    """Batches of images that the backbone sees at one size.

    Attributes:
        batches: What the model's `test_step` takes.
        height: Height in pixels of what the backbone sees.
        width: Width in pixels.
    """

    batches: tuple[Any, ...]
    height: int
    width: int


def timed_images(
    dataset: Any,
    collate: Callable[[list[Any]], Any],
    model: nn.Module,
    batch: int = 1,
    shape: tuple[int, int] | None = None,
) -> TimedImages:
    """Chooses images, evenly over a data set, that the backbone sees at one size.

    Args:
        dataset: The images as the test pipeline prepares them.
        collate: Makes a batch of them.
        model: The model, in evaluation mode.
        batch: Number of images in a batch.
        shape: Height and width in pixels of what the backbone sees; the most frequent by default.

    Raises:
        ConfigError: If the batch is empty, or no image that was looked at has the shape.
    """
    check_shape(*(shape or (1, 1)), batch)
    count = min(_LOOKED_AT, len(dataset))
    items = [dataset[number * len(dataset) // count] for number in range(count)]
    shapes = [backbone_input_shape(model, collate([item])) for item in items]
    wanted = shape or max(sorted(set(shapes), reverse=True), key=shapes.count)
    chosen = [item for item, found in zip(items, shapes) if found == wanted][:_TIMED]
    if not chosen:
        known = ', '.join(f'{height} x {width}' for height, width in sorted(set(shapes)))
        raise ConfigError(
            f'budget.shape is {wanted[0]} x {wanted[1]}, but must be a size that the backbone sees '
            f"of the images that the model is timed on ({known}), or budget.of must be 'backbone'."
        )
    batches = [
        collate([chosen[(first + number) % len(chosen)] for number in range(batch)])
        for first in range(len(chosen))
    ]
    return TimedImages(tuple(batches), *wanted)
