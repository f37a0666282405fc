"""Augmentation of the bird's-eye-view map: rotates, scales and flips it with its boxes."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray

from sparsevit_mm.det3d.bevdet.boxes import move_boxes
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class BEVAugmentation(BaseTransform):
    """BEVDet's augmentation of the map: flip · scale · rotation about the vertical axis.

    Every pipeline with boxes needs it after `LoadCameraImages` and `LoadAnnotations3D`, also one
    without augmentation (`max_degrees=0, scale=(1, 1)` and no flips): it transforms the boxes from
    the LiDAR's frame to the map's. Unknown velocities become 0. Changes `gt_bboxes_3d` and
    `bev_aug`.

    Args:
        max_degrees: Largest rotation in either direction.
        scale: Smallest and largest scale.
        flip_x_prob: Probability that x becomes -x.
        flip_y_prob: Probability that y becomes -y.

    Raises:
        ConfigError: If `scale` or a probability is out of range.
    """

    def __init__(
        self,
        max_degrees: float = 22.5,
        scale: Sequence[float] = (0.95, 1.05),
        flip_x_prob: float = 0.5,
        flip_y_prob: float = 0.5,
    ) -> None:
        if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
            raise ConfigError(
                f'scale is {tuple(scale)}, but must be the least and the largest, both positive.'
            )
        for name, chance in (('flip_x_prob', flip_x_prob), ('flip_y_prob', flip_y_prob)):
            if not 0 <= chance <= 1:
                raise ConfigError(f'{name} is {chance}, but must lie between 0 and 1.')
        self.max_degrees = max_degrees
        self.scale = tuple(scale)
        self.flip_x_prob, self.flip_y_prob = flip_x_prob, flip_y_prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Draws a transform and applies it to the boxes of a frame.

        Args:
            results: A frame with `bev_aug` (3, 3), `lidar2bev` (4, 4) and, in training,
                `gt_bboxes_3d`.
        """
        radians = math.radians(random.uniform(-self.max_degrees, self.max_degrees))
        scale = random.uniform(*self.scale)
        flip_x, flip_y = random.random() < self.flip_x_prob, random.random() < self.flip_y_prob
        results['bev_aug'] = bev_matrix(radians, scale, flip_x, flip_y) @ results['bev_aug']
        if 'gt_bboxes_3d' in results:
            boxes = move_boxes(results['gt_bboxes_3d'], results['lidar2bev'])
            boxes.tensor[:, 7:] = torch.nan_to_num(boxes.tensor[:, 7:], nan=0.0)
            boxes.rotate(radians)
            boxes.scale(scale)
            if flip_x:
                boxes.flip('vertical')
            if flip_y:
                boxes.flip('horizontal')
            results['gt_bboxes_3d'] = boxes
        return results


def bev_matrix(radians: float, scale: float, flip_x: bool, flip_y: bool) -> NDArray[np.float64]:
    """Returns the (3, 3) matrix flip · scale · rotation; counterclockwise seen from above."""
    cos, sin = np.cos(radians), np.sin(radians)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return np.diag([-1 if flip_x else 1, -1 if flip_y else 1, 1]) @ (scale * turn)
