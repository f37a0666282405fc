"""Draws 3D boxes over the image of the camera that sees them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

_CORNER_BITS = (0b000, 0b001, 0b011, 0b010, 0b100, 0b101, 0b111, 0b110)
"""Position of each corner, one bit per axis, in MMDetection3D's order of corners."""

EDGES = tuple(
    (first, second)
    for first in range(8)
    for second in range(first + 1, 8)
    if (_CORNER_BITS[first] ^ _CORNER_BITS[second]).bit_count() == 1
)
"""The twelve edges, as pairs of corner indices."""

_FRONT = (4, 5, 6, 7)
_NEAREST = 0.1  # meters; what is nearer, or behind the camera, is not drawn
_FRACTION_BITS = 4


def project_edges(
    corners: NDArray[np.floating], cam2img: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Projects the edges of boxes, clipped at 0.1 m in front of the camera.

    Args:
        corners: (boxes, 8, 3), meters in the camera's frame, in MMDetection3D's order.
        cam2img: (3, 3) or (4, 4) projection into pixels.

    Returns:
        (lines, 2, 2) end points as x and y in pixels, and (lines, 2) the indices of each line's
        box and edge.
    """
    ends = corners.astype(np.float64)[:, np.array(EDGES)]  # (boxes, 12, 2, 3)
    matrix = np.asarray(cam2img, np.float64)[:3, :3]
    ends = ends @ matrix.T
    boxes, edges = np.nonzero((ends[..., 2] > _NEAREST).any(-1))
    ends = ends[boxes, edges]
    for end, other in ((0, 1), (1, 0)):
        near = ends[:, end, 2] < _NEAREST
        start, stop = ends[near, other], ends[near, end]
        share = (start[:, 2] - _NEAREST) / (start[:, 2] - stop[:, 2])
        ends[near, end] = start + share[:, None] * (stop - start)
    return ends[..., :2] / ends[..., 2:], np.stack([boxes, edges], 1)


def draw_boxes_3d(
    image: NDArray[np.uint8],
    corners: NDArray[np.floating],
    cam2img: NDArray[np.floating],
    colors: Sequence[tuple[int, int, int]],
    captions: Sequence[str] = (),
) -> NDArray[np.uint8]:
    """Draws boxes as wire frames with a cross on the front.

    Args:
        image: (H, W, 3) uint8.
        corners: (boxes, 8, 3), meters in the camera's frame, in MMDetection3D's order.
        cam2img: (3, 3) or (4, 4) projection into pixels.
        colors: One per box.
        captions: One per box, or none; written above the box's highest corner, if it is in view.

    Returns:
        A new (H, W, 3) uint8 image.
    """
    drawn = np.ascontiguousarray(image).copy()
    if len(corners) == 0:
        return drawn
    thickness = max(1, round(max(image.shape[:2]) / 800))
    lines, owners = project_edges(corners, cam2img)
    distance = np.linalg.norm(corners.mean(1), axis=-1)
    # Far boxes first, so that near ones lie over them.
    for box in np.argsort(-distance):
        own = lines[owners[:, 0] == box]
        for first, second in [*own, *_cross(corners[box], cam2img)]:
            _line(drawn, first, second, colors[box], thickness)
        if len(captions) and _in_view(own, image):
            x, y = min(own.reshape(-1, 2), key=lambda point: point[1])
            _caption(drawn, captions[box], x, y, colors[box])
    return drawn


def _in_view(lines: NDArray[np.float64], image: NDArray[np.uint8]) -> bool:
    """Whether the rectangle around (lines, 2, 2) ends overlaps the image."""
    if not len(lines):
        return False
    ends, size = lines.reshape(-1, 2), image.shape[1::-1]
    return bool((ends.max(0) > 0).all() and (ends.min(0) < size).all())


def _cross(
    corners: NDArray[np.floating], cam2img: NDArray[np.floating]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    front = corners[list(_FRONT)] @ np.asarray(cam2img)[:3, :3].T
    if (front[:, 2] <= _NEAREST).any():
        return []
    points = front[:, :2] / front[:, 2:]
    return [(points[0], points[2]), (points[1], points[3])]


def _line(
    image: NDArray[np.uint8],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    color: tuple[int, int, int],
    thickness: int,
) -> None:
    ends = np.clip(np.stack([first, second]), -1e5, 1e5) * 2**_FRACTION_BITS
    start, stop = ends.round().astype(int).tolist()
    cv2.line(image, start, stop, color, thickness, cv2.LINE_AA, _FRACTION_BITS)


def _caption(
    image: NDArray[np.uint8], text: str, x: float, y: float, color: tuple[int, int, int]
) -> None:
    height, width = image.shape[:2]
    scale = max(height, width) / 1100
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    left = int(np.clip(x, 0, max(width - text_width, 0)))
    bottom = int(np.clip(y - 3, text_height, height))
    for ink, stroke in (((0, 0, 0), 3), (color, 1)):
        cv2.putText(
            image, text, (left, bottom), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, stroke, cv2.LINE_AA
        )
