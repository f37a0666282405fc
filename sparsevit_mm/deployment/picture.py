"""Resizes images, pastes masks and draws predictions with NumPy and Pillow alone."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError

from sparsevit_mm.errors import ConfigError

_MODES = {1: 'L', 3: 'RGB', 4: 'RGBA'}
_BITS = 11
"""Bits of the weights of OpenCV's bilinear resizing."""


def read_picture(path: str | Path, channels: int = 3) -> NDArray[np.uint8]:
    """Reads an image, turned as its EXIF says.

    Args:
        path: The file.
        channels: 1 for gray, 3 for RGB, 4 for RGBA.

    Returns:
        (H, W, channels) uint8.

    Raises:
        ConfigError: If it is missing, broken or no image, or Pillow has no such mode.
    """
    if channels not in _MODES:
        raise ConfigError(
            f'the file takes images of {channels} channels, which an image file does not have: '
            'give an array.'
        )
    try:
        with Image.open(path) as opened:
            pixels = np.asarray(ImageOps.exif_transpose(opened).convert(_MODES[channels]))
    except (OSError, UnidentifiedImageError) as error:
        reason = getattr(error, 'strerror', None) or 'it is no image, or broken'
        raise ConfigError(f'the image {path} cannot be read: {reason}.') from None
    return pixels.reshape(*pixels.shape[:2], channels)


def resize(
    image: NDArray[np.uint8], height: int, width: int, interpolation: str = 'bilinear'
) -> NDArray[np.uint8]:
    """Resizes an image as the pipelines of OpenMMLab do, which use OpenCV.

    Args:
        image: (H, W, C) uint8.
        height: Of the result.
        width: Of the result.
        interpolation: 'bilinear' takes the two nearest pixels of each axis, as OpenCV with the same
            rounding; 'bicubic' is Pillow's, which also smooths where it shrinks.

    Returns:
        (height, width, C) uint8.
    """
    if image.shape[:2] == (height, width):
        return image
    if interpolation == 'bicubic':
        channels = [
            np.asarray(
                Image.fromarray(np.ascontiguousarray(channel)).resize(
                    (width, height), Image.Resampling.BICUBIC
                )
            )
            for channel in image.transpose(2, 0, 1)
        ]
        return np.stack(channels, axis=2)
    left, right, left_weight, right_weight = _neighbors(image.shape[1], width)
    top, bottom, top_weight, bottom_weight = _neighbors(image.shape[0], height)
    pixels = image.astype(np.int32)
    rows = (pixels[:, left] * left_weight[:, None] + pixels[:, right] * right_weight[:, None]) >> 4
    upper = (rows[top] * top_weight[:, None, None]) >> 16
    lower = (rows[bottom] * bottom_weight[:, None, None]) >> 16
    return ((upper + lower + 2) >> 2).astype(np.uint8)


def _neighbors(old: int, new: int) -> tuple[NDArray[Any], ...]:
    """The two nearest of `old` pixels for each of `new` ones, and their weights in 2^11."""
    place = (np.arange(new, dtype=np.float64) + 0.5) * (old / new) - 0.5
    place = place.astype(np.float32)
    first = np.floor(place).astype(np.int64)
    share = place - first.astype(np.float32)
    share[(first < 0) | (first >= old - 1)] = 0
    first = first.clip(0, old - 1)
    second = (first + 1).clip(max=old - 1)
    scale = np.float32(1 << _BITS)
    return (
        first,
        second,
        np.rint((1 - share) * scale).astype(np.int32),
        np.rint(share * scale).astype(np.int32),
    )


def paste_mask(
    mask: NDArray[np.float32], box: Sequence[float], height: int, width: int, threshold: float
) -> NDArray[np.bool_]:
    """Puts the mask of a box into the image.

    Args:
        mask: (h, w) probabilities inside the box.
        box: (x1, y1, x2, y2) in pixels of the image.
        height: Of the image.
        width: Of the image.
        threshold: Probability from which on a pixel is part of the mask.

    Returns:
        (height, width).
    """
    pasted = np.zeros((height, width), dtype=np.bool_)
    x1, y1, x2, y2 = (float(side) for side in box)
    if x2 <= x1 or y2 <= y1:
        return pasted
    left, top = max(int(np.floor(x1)) - 1, 0), max(int(np.floor(y1)) - 1, 0)
    right, bottom = min(int(np.ceil(x2)) + 1, width), min(int(np.ceil(y2)) + 1, height)
    across = _sampling(left, right, x1, x2, mask.shape[1])
    down = _sampling(top, bottom, y1, y2, mask.shape[0])
    pasted[top:bottom, left:right] = down @ mask @ across.T >= threshold
    return pasted


def resize_mask(
    logits: NDArray[np.float32],
    entered: Sequence[int],
    placement: Sequence[int],
    size: Sequence[int],
) -> NDArray[np.bool_]:
    """Resizes the mask of an image to the file's input and from there to the image.

    Args:
        logits: (h, w), positive inside the mask, for the whole input.
        entered: Height and width of the input.
        placement: Pixels of the input that the image takes from the top left.
        size: Height and width of the image.

    Returns:
        (height, width).
    """
    down, across = (
        _blending(inside, new) @ _blending(cells, whole)[:inside]
        for cells, whole, inside, new in zip(logits.shape, entered, placement, size)
    )
    resized: NDArray[np.bool_] = down @ logits @ across.T > 0
    return resized


def _blending(old: int, new: int) -> NDArray[np.float32]:
    """(new, old) weights of bilinear resizing of old pixels to new ones."""
    centers = (np.arange(new) + 0.5) * (old / new) - 0.5
    apart = np.abs(centers.clip(0, old - 1)[:, None] - np.arange(old))
    return np.maximum(0, 1 - apart).astype(np.float32)


def _sampling(start: int, stop: int, low: float, high: float, cells: int) -> NDArray[np.float32]:
    """(pixels, cells) weights of bilinear sampling of cells that lie between low and high."""
    centers = (np.arange(start, stop, dtype=np.float32) + 0.5 - low) / (high - low) * cells - 0.5
    weights: NDArray[np.float32] = np.maximum(0, 1 - np.abs(centers[:, None] - np.arange(cells)))
    return weights.astype(np.float32)


def color_of(label: int) -> tuple[int, int, int]:
    """A color for a class, the same everywhere."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.61803 % 1, 0.75, 0.95)
    return int(red * 255), int(green * 255), int(blue * 255)


def draw_boxes(
    image: NDArray[np.uint8],
    boxes: NDArray[np.float32],
    labels: Sequence[int],
    texts: Sequence[str],
) -> NDArray[np.uint8]:
    """Draws boxes with a text at each.

    Args:
        image: (H, W, C) uint8.
        boxes: (N, 4), (x1, y1, x2, y2) in pixels.
        labels: Class of each box, which decides its color.
        texts: Text of each box.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    picture = Image.fromarray(rgb(image))
    pencil = ImageDraw.Draw(picture)
    thickness = max(1, round(max(picture.size) / 400))
    for box, label, text in zip(boxes.tolist(), labels, texts):
        color = color_of(label)
        pencil.rectangle(box, outline=color, width=thickness)
        corner = (box[0] + thickness, box[1] + thickness)
        pencil.rectangle(pencil.textbbox(corner, text), fill=color)
        pencil.text(corner, text, fill='black')
    return np.asarray(picture)


def draw_regions(
    image: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]], labels: Sequence[int]
) -> NDArray[np.uint8]:
    """Tints the pixels of masks, half transparent.

    Args:
        image: (H, W, C) uint8.
        masks: Of (H, W).
        labels: Class of each mask, which decides its color.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    tinted = rgb(image).copy()
    for mask, label in zip(masks, labels):
        tinted[mask] = tinted[mask] // 2 + np.array(color_of(label), dtype=np.uint8) // 2
    return tinted


def rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Makes an image of 1 or at least 3 channels one of (H, W, 3), to draw into."""
    channels = image if image.shape[2] >= 3 else image[..., :1].repeat(3, axis=2)
    return np.ascontiguousarray(channels[..., :3])
