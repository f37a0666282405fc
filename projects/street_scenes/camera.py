"""The pinhole camera of the street scenes.

Scenes are in a vehicle's frame: x forward, y left, z up, in meters, the ground at z = 0. Cameras
see in OpenCV's frame: x right, y down, z forward. Pixel centers are at integer (column, row)
coordinates.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

NEAR = 0.1
"""Smallest visible distance along the camera's axis, in meters."""

# The 12 edges of a box: pairs of corners whose binary indices differ in one bit.
_EDGES = np.array([(a, b) for a, b in itertools.combinations(range(8), 2) if a ^ b in (1, 2, 4)])


@dataclass(frozen=True)
class Camera:
    """A pinhole camera somewhere on a vehicle.

    Attributes:
        width: Image width in pixels.
        height: Image height in pixels.
        focal: Focal length in pixels.
        position: (x, y, z) in the vehicle's frame, in meters.
        yaw: Rotation to the left in radians; 0 looks forward.
        pitch: Rotation downward in radians.
    """

    width: int
    height: int
    focal: float
    position: tuple[float, float, float] = (0.0, 0.0, 1.5)
    yaw: float = 0.0
    pitch: float = 0.0

    @property
    def intrinsics(self) -> Array:
        """(3, 3) matrix from camera coordinates to pixels."""
        center = (self.width - 1) / 2, (self.height - 1) / 2
        return np.array([[self.focal, 0, center[0]], [0, self.focal, center[1]], [0, 0, 1]])

    @property
    def rotation(self) -> Array:
        """(3, 3) rotation from the vehicle's frame to the camera's."""
        cos_yaw, sin_yaw = math.cos(self.yaw), math.sin(self.yaw)
        cos_pitch, sin_pitch = math.cos(self.pitch), math.sin(self.pitch)
        forward = np.array([cos_yaw * cos_pitch, sin_yaw * cos_pitch, -sin_pitch])
        right = np.array([sin_yaw, -cos_yaw, 0.0])
        return np.stack([right, np.cross(forward, right), forward])

    @property
    def leveled(self) -> Camera:
        """The camera in the same position with the same yaw, but without pitch."""
        return replace(self, pitch=0.0)

    def to_camera(self, points: Array) -> Array:
        """Transforms (..., 3) points from the vehicle's frame to the camera's."""
        return (np.asarray(points) - self.position) @ self.rotation.T

    def project(self, points: Array) -> tuple[Array, Array]:
        """Projects points.

        Args:
            points: (..., 3) in the vehicle's frame.

        Returns:
            (..., 2) columns and rows in pixels, meaningful where the depth is positive, and (...)
            depths along the camera's axis in meters.
        """
        in_camera = self.to_camera(points)
        depth = in_camera[..., 2]
        pixels = in_camera @ self.intrinsics.T
        return pixels[..., :2] / np.where(depth == 0, NEAR, depth)[..., None], depth

    def rays(self) -> Array:
        """Returns the directions of the rays through all pixels.

        Returns:
            (height * width, 3) float32 in the vehicle's frame, row-major over the image, scaled so
            that a ray's parameter is the depth along the camera's axis.
        """
        rows, cols = np.mgrid[: self.height, : self.width]
        pixels = np.stack([cols, rows, np.ones_like(cols)], axis=-1).reshape(-1, 3)
        to_vehicle = np.linalg.inv(self.intrinsics).T @ self.rotation
        return (pixels @ to_vehicle).astype(np.float32)

    def image_extents(self, corners: Array) -> tuple[Array, Array]:
        """Returns the bounds of boxes in the image plane, also beyond the image.

        Args:
            corners: (N, 8, 3) in the vehicle's frame, each box's counted in binary along its axes.

        Returns:
            (N, 2) smallest and (N, 2) largest column and row of the parts in front of the camera;
            infinity and minus infinity for a box behind it.
        """
        in_camera = self.to_camera(corners)
        # Uses the corners in front of the camera, and the edges' intersections with its near plane.
        start, end = in_camera[:, _EDGES[:, 0]], in_camera[:, _EDGES[:, 1]]
        rise = end[..., 2] - start[..., 2]
        with np.errstate(divide='ignore', invalid='ignore'):
            share = (NEAR - start[..., 2]) / rise
        crosses = (share > 0) & (share < 1)
        share = np.where(crosses, share, 0)[..., None]
        points = np.concatenate([in_camera, start + share * (end - start)], axis=1)
        counts = np.concatenate([in_camera[..., 2] >= NEAR, crosses], axis=1)[..., None]
        depth = np.maximum(points[..., 2:], NEAR)
        pixels = (points @ self.intrinsics.T)[..., :2] / depth
        return np.where(counts, pixels, np.inf).min(1), np.where(counts, pixels, -np.inf).max(1)

    def image_rectangles(self, corners: Array) -> NDArray[np.int64]:
        """Returns the rectangles of the image in which boxes are visible.

        Args:
            corners: As in `image_extents`.

        Returns:
            (N, 4) first column, first row, last column + 1, last row + 1; empty for a box out of
            view.
        """
        low, high = self.image_extents(corners)
        size = np.array([self.width, self.height])
        first = np.clip(np.floor(low), 0, size)
        beyond = np.maximum(np.clip(np.ceil(high) + 1, 0, size), first)
        return np.concatenate([first, beyond], axis=1).astype(np.int64)
