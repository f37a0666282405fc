"""The two steps of a classification pipeline that mmcv does not have."""

from __future__ import annotations

import math
import random
from typing import Any

import mmcv
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from sparsevit_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomResizedCrop(BaseTransform):
    """Crops a random part of an image and resizes it.

    It draws from Python's `random`, which mmengine seeds in every worker.

    Args:
        size: Side of the result in pixels.
        scale: Smallest and largest share of the image's area.
        ratio: Smallest and largest width over height.
        interpolation: How pixels are interpolated, one of mmcv's names.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = 'bicubic',
    ) -> None:
        self.size = size
        self.scale = scale
        self.ratio = ratio
        self.interpolation = interpolation

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crops `img` and sets `img_shape`."""
        image = results['img']
        top, left, height, width = self._choose(*image.shape[:2])
        part = image[top : top + height, left : left + width]
        results['img'] = mmcv.imresize(
            part, (self.size, self.size), interpolation=self.interpolation
        )
        results['img_shape'] = results['img'].shape[:2]
        return results

    @cache_randomness
    def _choose(self, height: int, width: int) -> tuple[int, int, int, int]:
        """A box (top, left, height, width); in the middle where none fits in ten tries."""
        for _ in range(10):
            area = height * width * random.uniform(*self.scale)
            aspect = math.exp(random.uniform(*map(math.log, self.ratio)))
            box_width = round(math.sqrt(area * aspect))
            box_height = round(math.sqrt(area / aspect))
            if 0 < box_width <= width and 0 < box_height <= height:
                top = random.randint(0, height - box_height)
                left = random.randint(0, width - box_width)
                return top, left, box_height, box_width
        box_width = min(width, max(1, round(height * self.ratio[1])))
        box_height = min(height, max(1, round(width / self.ratio[0])))
        return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


@TRANSFORMS.register_module()
class PackImage(BaseTransform):
    """Makes what `ImageClassifier` takes: `inputs` (3, H, W) uint8; `data_samples`, the label."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Packs `img` and `label`."""
        image = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        packed = {'inputs': torch.from_numpy(image)}
        return {**packed, 'data_samples': results['label']} if 'label' in results else packed
