"""Augmentation of camera images: resizes, crops, flips and rotates, and records what it did.

Intrinsics stay those of the raw images. The augmentation of an image is recorded as one affine
matrix from its raw pixels to the network's, which the view transform inverts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray
from PIL import Image

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.registry import TRANSFORMS


@dataclass(frozen=True)
class ImageView:
    """One way to resize, crop, flip and rotate a raw image, in this order.

    Attributes:
        size: Height and width of the result, pixels.
        scale: Factor by which the raw image is resized.
        left: First column of the crop in the resized image; may be negative.
        top: First row of the crop in the resized image; may be negative.
        flip: Whether the crop is flipped horizontally.
        degrees: Rotation of the result about its center, counterclockwise.
    """

    size: tuple[int, int]
    scale: float
    left: int
    top: int
    flip: bool = False
    degrees: float = 0.0

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) map from raw pixels to the network's; pixel i spans coordinates i to i + 1."""
        height, width = self.size
        resize = np.diag([self.scale, self.scale, 1.0])
        mirror = _affine([[-1, 0], [0, 1]], [width, 0]) if self.flip else np.eye(3)
        radians = np.deg2rad(self.degrees)
        cos, sin = np.cos(radians), np.sin(radians)
        center = np.array([width / 2, height / 2])
        turn = np.array([[cos, sin], [-sin, cos]])
        return (
            _affine(turn, center - turn @ center)
            @ mirror
            @ _affine(np.eye(2), [-self.left, -self.top])
            @ resize
        )

    def render(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Applies the view to an image; black outside of it.

        As in the authors' code, the resized image has its height and width rounded down, while
        `matrix` has the exact scale: the two differ by at most one pixel at the far edge.

        Args:
            image: (H, W, 3).

        Returns:
            (height, width, 3) of `size`.
        """
        raw_height, raw_width = image.shape[:2]
        height, width = self.size
        result = Image.fromarray(image).resize(
            (int(raw_width * self.scale), int(raw_height * self.scale))
        )
        result = result.crop((self.left, self.top, self.left + width, self.top + height))
        if self.flip:
            result = result.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.degrees:
            result = result.rotate(self.degrees, resample=Image.Resampling.BILINEAR)
        return np.array(result)


@TRANSFORMS.register_module()
class CameraAugmentation(BaseTransform):
    """BEVDet's augmentation of images, drawn for every camera separately.

    The scale is (width of the result) / (width of the raw image), plus a jitter. The crop touches
    the lower edge of the resized image, because the upper part shows the sky; horizontally it is
    random in training and centered otherwise. Changes `img`, `img_shape`, `pad_shape` and
    `img_aug`.

    Args:
        size: Height and width of the results, pixels.
        training: Whether augmentations are random.
        scale_jitter: Smallest and largest jitter of the scale in training.
        flip_prob: Probability of a flip in training.
        max_degrees: Largest rotation in training, in either direction.
        test_scale_jitter: Jitter of the scale otherwise; 0.04 gives the scale of 0.48 at which the
            released BEVDet-Tiny is tested.

    Raises:
        ConfigError: If `size`, `scale_jitter` or `flip_prob` is out of range.
    """

    def __init__(
        self,
        size: Sequence[int],
        training: bool,
        scale_jitter: Sequence[float] = (-0.06, 0.11),
        flip_prob: float = 0.5,
        max_degrees: float = 5.4,
        test_scale_jitter: float = 0.0,
    ) -> None:
        if len(size) != 2 or min(size) < 1:
            raise ConfigError(
                f'size is {tuple(size)}, but must be a positive height and width in pixels.'
            )
        if len(scale_jitter) != 2 or scale_jitter[0] > scale_jitter[1]:
            raise ConfigError(
                f'scale_jitter is {tuple(scale_jitter)}, but must be the least and the largest.'
            )
        if not 0 <= flip_prob <= 1:
            raise ConfigError(f'flip_prob is {flip_prob}, but must lie between 0 and 1.')
        self.size = (int(size[0]), int(size[1]))
        self.training = training
        self.scale_jitter = tuple(scale_jitter)
        self.flip_prob = flip_prob
        self.max_degrees = max_degrees
        self.test_scale_jitter = test_scale_jitter

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Augments the images of a frame.

        Args:
            results: A frame with `img`, a list of (H, W, 3), and `img_aug`, (N, 3, 3).
        """
        views = [self.choose(image.shape[0], image.shape[1]) for image in results['img']]
        results['img'] = [view.render(image) for view, image in zip(views, results['img'])]
        results['img_aug'] = np.stack([view.matrix for view in views]) @ results['img_aug']
        results['img_shape'] = results['pad_shape'] = self.size
        return results

    def choose(self, raw_height: int, raw_width: int) -> ImageView:
        """Chooses the view of one image; in training with Python's random numbers.

        Raises:
            ConfigError: If the resulting scale is not positive.
        """
        height, width = self.size
        jitter = random.uniform(*self.scale_jitter) if self.training else self.test_scale_jitter
        scale = width / raw_width + jitter
        if scale <= 0:
            raise ConfigError(
                f'the scale of an image {raw_width} pixels wide is {scale:.3f} with jitter '
                f'{jitter:.3f}, but must be positive.'
            )
        top = int(raw_height * scale) - height
        spare = max(0, int(raw_width * scale) - width)
        if not self.training:
            return ImageView(self.size, scale, spare // 2, top)
        left, chance, turn = random.random(), random.random(), random.random()
        return ImageView(
            self.size,
            scale,
            int(left * spare),
            top,
            flip=bool(chance < self.flip_prob),
            degrees=float(self.max_degrees * (2 * turn - 1)),
        )


def _affine(linear: Any, offset: Any) -> NDArray[np.float64]:
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, offset
    return matrix
