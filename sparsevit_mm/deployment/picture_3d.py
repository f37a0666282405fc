"""Draws 3D boxes into the image of their camera with NumPy and Pillow alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sparsevit_mm.deployment.picture import color_of, rgb

NEAREST = 0.1
"""Depth in meters at which edges that go behind the camera are cut off."""

CORNERS = np.array(
    [[x, y, z] for x in (-0.5, 0.5) for y in (-1.0, 0.0) for z in (-0.5, 0.5)], dtype=np.float64
)
"""Corners of a box of extents 1 whose bottom has its center at 0; y points down."""

EDGES = [
    (one, other)
    for one in range(8)
    for other in range(one + 1, 8)
    if (CORNERS[one] != CORNERS[other]).sum() == 1
]


def corners_of(boxes: NDArray[Any]) -> NDArray[np.float64]:
    """Corners of 3D boxes.

    Args:
        boxes: (N, 7 or more) in the frame of the camera, see `Found.boxes_3d`.

    Returns:
        (N, 8, 3), meters.
    """
    x, y, z = np.moveaxis(CORNERS * np.asarray(boxes, dtype=np.float64)[:, None, 3:6], -1, 0)
    cosine, sine = np.cos(boxes[:, 6:7]), np.sin(boxes[:, 6:7])
    turned = np.stack([x * cosine + z * sine, y, z * cosine - x * sine], axis=-1)
    return turned + boxes[:, None, :3]


def visible_edges(boxes: NDArray[Any], cam2img: NDArray[Any]) -> list[NDArray[np.float64]]:
    """Edges of 3D boxes in the image, as far as they lie before the camera.

    Args:
        boxes: (N, 7 or more), see `corners_of`.
        cam2img: (4, 4) projection into pixels of the image.

    Returns:
        For each box (edges, 2, 2): x and y in pixels of both ends.
    """
    edges = []
    for corners in corners_of(boxes):
        points = np.concatenate([corners, np.ones((8, 1))], axis=1) @ cam2img.T
        of_box = []
        for near, far in (sorted(edge, key=lambda corner: points[corner, 2]) for edge in EDGES):
            one, other = points[near], points[far]
            if other[2] <= NEAREST:
                continue
            if one[2] < NEAREST:
                one = one + (other - one) * (NEAREST - one[2]) / (other[2] - one[2])
            of_box.append([one[:2] / one[2], other[:2] / other[2]])
        edges.append(np.array(of_box).reshape(-1, 2, 2))
    return edges


def draw_boxes_3d(
    image: NDArray[np.uint8],
    boxes: NDArray[Any],
    cam2img: NDArray[Any],
    labels: Sequence[int],
    texts: Sequence[str],
) -> NDArray[np.uint8]:
    """Draws the edges of 3D boxes with a text at the highest point of each.

    Args:
        image: (H, W, C) uint8.
        boxes: (N, 7 or more), see `corners_of`.
        cam2img: (4, 4) projection into pixels of the image.
        labels: Class of each box, which decides its color.
        texts: Text of each box.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    picture = Image.fromarray(rgb(image))
    pencil = ImageDraw.Draw(picture)
    thickness = max(1, round(max(picture.size) / 600))
    for edges, label, text in zip(visible_edges(boxes, cam2img), labels, texts):
        for ends in edges:
            pencil.line(ends.ravel().tolist(), fill=color_of(label), width=thickness)
        if len(edges):
            ends = edges.reshape(-1, 2)
            pencil.text(ends[ends[:, 1].argmin()].tolist(), text, fill=color_of(label))
    return np.asarray(picture)
