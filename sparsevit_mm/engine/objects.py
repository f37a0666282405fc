"""Which pixels of an image are objects, by its annotations.

In detection, object pixels are those inside annotated boxes. In segmentation, they are those
labeled with a class other than background; where no class is called background, the classes must be
named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sparsevit_mm.errors import ConfigError

_BACKGROUND = ('background', 'bg')
_IGNORED = 255


def check_objects(objects: Sequence[str] | None, classes: Sequence[str]) -> None:
    """Checks names of classes.

    Args:
        objects: The names; None for none.
        classes: Classes of the data set.

    Raises:
        ConfigError: If the data set has no class of a name.
    """
    for name in objects or ():
        if name not in classes:
            raise ConfigError(f'objects has {name!r}, but must be among {", ".join(classes)}.')


def object_pixels(
    sample: Any, info: Mapping[str, Any], classes: Sequence[str], objects: Sequence[str] | None
) -> Tensor | None:
    """The object pixels of an image, as the network saw it.

    Args:
        sample: The data sample of the image.
        info: What the data set knows of it.
        classes: Classes of the data set.
        objects: Names of the classes that count; None for all but background.

    Returns:
        (H, W) bool of the resized image without padding; None if the annotations do not tell.
    """
    shape = getattr(sample, 'img_shape', None)
    if not isinstance(shape, (tuple, list)):  # as of several cameras
        return None
    height, width = shape[:2]
    if 'gt_sem_seg' in sample:
        return _labeled(sample.gt_sem_seg.data[0], (height, width), classes, objects)
    instances = info.get('instances')
    if instances is None or not all('bbox' in instance for instance in instances):
        return None
    if 'gt_instances_3d' in sample or not hasattr(sample, 'ori_shape'):
        return None
    found = torch.zeros(height, width, dtype=torch.bool)
    down, across = height / sample.ori_shape[0], width / sample.ori_shape[1]
    for instance in instances:
        if objects is not None and classes[instance['bbox_label']] not in objects:
            continue
        left, top, right, bottom = instance['bbox']
        rows = slice(max(0, math.floor(top * down)), max(0, math.ceil(bottom * down)))
        cols = slice(max(0, math.floor(left * across)), max(0, math.ceil(right * across)))
        found[rows, cols] = True
    return found


def _labeled(
    labels: Tensor, shape: tuple[int, int], classes: Sequence[str], objects: Sequence[str] | None
) -> Tensor | None:
    if objects is None:
        objects = [name for name in classes if name.lower() not in _BACKGROUND]
        if len(objects) == len(classes):
            return None
    numbers = torch.tensor([classes.index(name) for name in objects])
    found = torch.isin(labels.cpu(), numbers) & (labels.cpu() != _IGNORED)
    return interpolate(found[None, None].float(), shape, mode='nearest')[0, 0] > 0
