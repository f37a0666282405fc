"""3D boxes as NumPy arrays, whatever frame MMDetection3D gives them in.

MMDetection3D has boxes in the frame of a LiDAR or vehicle (third axis up) and of a camera (second
axis down). Headings are kept as vectors, so that one matrix changes the frame of everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEVELED_CAMERA_TO_GROUND = np.array(
    [[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]],
)
"""(4, 4) from a level camera (x right, y down, z forward) to x forward, y left, z up."""

NO_ATTRIBUTE = -1


@dataclass(frozen=True)
class GroundBoxes:
    """Boxes of one frame.

    Attributes:
        centers: Centers of the boxes, (N, 3), meters.
        sizes: Length, width and height, (N, 3), meters.
        headings: Direction of the length, (N, 3), of length 1.
        velocities: Meters per second, (N, 3); NaN where unknown.
        labels: Class labels, (N,).
        attributes: Attribute labels, (N,); -1 where there is none.
        scores: Confidences, (N,); 1 for annotated boxes.
    """

    centers: FloatArray
    sizes: FloatArray
    headings: FloatArray
    velocities: FloatArray
    labels: IntArray
    attributes: IntArray
    scores: FloatArray

    @classmethod
    def of_lidar(cls, boxes: ArrayLike, labels: ArrayLike, **others: Any) -> GroundBoxes:
        """Builds them from boxes with the third axis up.

        Args:
            boxes: (N, 7 or 9): middle x, y, z; length, width, height; yaw from x to y; velocity
                along x and y.
            labels: (N,).
            **others: `scores` and `attributes`, (N,).
        """
        rows = _rows(boxes)
        turn, nothing = rows[:, 6], np.zeros(len(rows))
        headings = np.stack([np.cos(turn), np.sin(turn), nothing], axis=1)
        velocities = np.stack([*_velocity(rows), nothing], axis=1)
        return cls._build(rows[:, :3], rows[:, 3:6], headings, velocities, labels, **others)

    @classmethod
    def of_camera(cls, boxes: ArrayLike, labels: ArrayLike, **others: Any) -> GroundBoxes:
        """Builds them from boxes with the second axis down.

        Args:
            boxes: (N, 7 or 9): middle x, y, z; length, height, width; yaw from z to x, less a
                quarter turn; velocity along x and z.
            labels: (N,).
            **others: `scores` and `attributes`, (N,).
        """
        rows = _rows(boxes)
        turn, nothing = rows[:, 6], np.zeros(len(rows))
        headings = np.stack([np.cos(turn), nothing, -np.sin(turn)], axis=1)
        sideways, forwards = _velocity(rows)
        velocities = np.stack([sideways, nothing, forwards], axis=1)
        return cls._build(rows[:, :3], rows[:, [3, 5, 4]], headings, velocities, labels, **others)

    @classmethod
    def of_instances(cls, instances: Any, labels: Any, **others: Any) -> GroundBoxes:
        """Builds them from MMDetection3D's `CameraInstance3DBoxes` or `LiDARInstance3DBoxes`.

        Args:
            instances: N boxes with any origin.
            labels: (N,) tensor or array.
            **others: `scores` and `attributes`, (N,).
        """
        plain = instances.tensor.detach().cpu().double().numpy().copy()
        plain[:, :3] = instances.gravity_center.detach().cpu().double().numpy()
        return (cls.of_camera if stands_in_camera(instances) else cls.of_lidar)(
            plain, np.asarray(labels), **others
        )

    @classmethod
    def _build(
        cls,
        centers: FloatArray,
        sizes: FloatArray,
        headings: FloatArray,
        velocities: FloatArray,
        labels: ArrayLike,
        scores: ArrayLike | None = None,
        attributes: ArrayLike | None = None,
    ) -> GroundBoxes:
        number = len(centers)
        return cls(
            centers,
            sizes,
            headings,
            velocities,
            np.asarray(labels, dtype=np.int64).reshape(number),
            np.full(number, NO_ATTRIBUTE)
            if attributes is None
            else np.asarray(attributes, dtype=np.int64).reshape(number),
            np.ones(number)
            if scores is None
            else np.asarray(scores, dtype=np.float64).reshape(number),
        )

    def __len__(self) -> int:
        return len(self.centers)

    @property
    def yaws(self) -> FloatArray:
        """Angle of the heading on the ground from x to y, (N,), radians."""
        return np.arctan2(self.headings[:, 1], self.headings[:, 0])

    def moved(self, matrix: ArrayLike) -> GroundBoxes:
        """Returns the boxes in another frame.

        Args:
            matrix: (4, 4) transform from this frame to the other.
        """
        whole = np.asarray(matrix, dtype=np.float64)
        turn = whole[:3, :3].T
        return replace(
            self,
            centers=self.centers @ turn + whole[:3, 3],
            headings=self.headings @ turn,
            velocities=self.velocities @ turn,
        )

    def where(self, chosen: Sequence[bool] | NDArray[np.bool_] | IntArray) -> GroundBoxes:
        """Returns some of the boxes.

        Args:
            chosen: Mask (N,) or indices.
        """
        return GroundBoxes(*(value[chosen] for value in vars(self).values()))


def stands_in_camera(instances: Any) -> bool:
    """Whether boxes of MMDetection3D are in a camera's frame: they turn about the second axis."""
    return instances.YAW_AXIS == 1


def _rows(boxes: ArrayLike) -> FloatArray:
    rows = np.asarray(boxes, dtype=np.float64)
    return rows.reshape(len(rows), rows.shape[-1] if rows.ndim == 2 else 7)


def _velocity(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    if rows.shape[1] >= 9:
        return rows[:, 7], rows[:, 8]
    return np.full(len(rows), np.nan), np.full(len(rows), np.nan)
