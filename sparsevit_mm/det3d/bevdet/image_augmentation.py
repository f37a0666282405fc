"""Resizing, cropping, flipping and turning the images of all cameras, with exact bookkeeping.

Intrinsics stay those of the raw images: what happened to an image is one affine matrix from its raw
pixels to the network's, which the view transform undoes.
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
    """What the network sees of a raw image.

    Attributes:
        size: Height and width of the result, pixels.
        scale: By how much the raw image is resized.
        left: First column of the resized image that is seen; may be negative.
        top: First row of the resized image that is seen; may be negative.
        flip: Whether left and right are swapped then.
        degrees: By how much the result is turned then, counterclockwise, about its middle.
    """

    size: tuple[int, int]
    scale: float
    left: int
    top: int
    flip: bool = False
    degrees: float = 0.0

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) from raw pixels to the network's; a pixel spans from its number to the next."""
        height, width = self.size
        resize = np.diag([self.scale, self.scale, 1.0])
        mirror = _affine([[-1, 0], [0, 1]], [width, 0]) if self.flip else np.eye(3)
        radians = np.deg2rad(self.degrees)
        cos, sin = np.cos(radians), np.sin(radians)
        middle = np.array([width / 2, height / 2])
        turn = np.array([[cos, sin], [-sin, cos]])
        return (
            _affine(turn, middle - turn @ middle)
            @ mirror
            @ _affine(np.eye(2), [-self.left, -self.top])
            @ resize
        )

    def render(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Computes what is seen; black where there is nothing.

        The resized image has whole numbers of pixels, rounded down, but `matrix` has the true
        scale, as in the authors' code: at most one pixel at the far edge.

        Args:
            image: (H, W, 3).

        Returns:
            (height, width, 3) of `size`.
        """
        raw_height, raw_width = image.shape[:2]
        height, width = self.size
        picture = Image.fromarray(image).resize(
            (int(raw_width * self.scale), int(raw_height * self.scale))
        )
        picture = picture.crop((self.left, self.top, self.left + width, self.top + height))
        if self.flip:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.degrees:
            picture = picture.rotate(self.degrees, resample=Image.Resampling.BILINEAR)
        return np.array(picture)


@TRANSFORMS.register_module()
class CameraAugmentation(BaseTransform):
    """BEVDet's augmentation of images: for every camera a view of its own.

    The scale is the one at which a raw image is as wide as the result, plus a jitter. The crop ends
    at the lower edge, for the sky is at the upper one; it is drawn along x in training and in the
    middle otherwise. Changes `img`, `img_shape`, `pad_shape` and `img_aug`.

    Args:
        size: Height and width of the results, pixels.
        training: Whether views are drawn.
        scale_jitter: Least and largest jitter of the scale in training.
        flip_prob: Probability of a flip in training.
        max_degrees: Largest turn in training, either way.
        test_scale_jitter: Jitter of the scale otherwise; 0.04 gives the 0.48 that the released
            BEVDet-Tiny is tested at.

    Raises:
        ConfigError: If an argument is outside what is allowed.
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
        """Changes the images of a frame.

        Args:
            results: With `img`, a list of (H, W, 3), and `img_aug`, (N, 3, 3).
        """
        views = [self.choose(image.shape[0], image.shape[1]) for image in results['img']]
        results['img'] = [view.render(image) for view, image in zip(views, results['img'])]
        results['img_aug'] = np.stack([view.matrix for view in views]) @ results['img_aug']
        results['img_shape'] = results['pad_shape'] = self.size
        return results

    def choose(self, raw_height: int, raw_width: int) -> ImageView:
        """The view of one image; in training drawn from Python's random state.

        Raises:
            ConfigError: If the scale is not positive.
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
