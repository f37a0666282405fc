"""3D boxes as arrays in a frame whose third axis points up.

Both kinds of boxes that MMDetection3D has come here: those of a LiDAR or vehicle (third axis up)
and those of a camera (second axis down). A box's heading is kept as a vector, so that a change of
frame is one matrix whatever the frames' axes are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEVELLED_CAMERA_TO_GROUND = np.array(
    [[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]],
)
"""From a camera that does not lean (x right, y down, z forward) to x forward, y left, z up."""

NO_ATTRIBUTE = -1


@dataclass(frozen=True)
class GroundBoxes:
    """Boxes of one frame.

    Attributes:
        centres: Middles, (N, 3), metres.
        sizes: Length, width and height, (N, 3), metres.
        headings: Direction of the length, (N, 3), of length 1.
        velocities: Metres a second, (N, 3); NaN where it is not known.
        labels: Numbers of the classes, (N,).
        attributes: Numbers of the attributes, (N,); -1 where there is none.
        scores: Confidences, (N,); of annotated boxes 1.
    """

    centres: FloatArray
    sizes: FloatArray
    headings: FloatArray
    velocities: FloatArray
    labels: IntArray
    attributes: IntArray
    scores: FloatArray

    @classmethod
    def of_lidar(cls, boxes: ArrayLike, labels: ArrayLike, **others: Any) -> GroundBoxes:
        """Boxes with the third axis up.

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
        """Boxes with the second axis down.

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
        """Boxes of MMDetection3D's `CameraInstance3DBoxes` or `LiDARInstance3DBoxes`.

        Args:
            instances: N boxes; they know the middle, whatever their own origin is.
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
        centres: FloatArray,
        sizes: FloatArray,
        headings: FloatArray,
        velocities: FloatArray,
        labels: ArrayLike,
        scores: ArrayLike | None = None,
        attributes: ArrayLike | None = None,
    ) -> GroundBoxes:
        number = len(centres)
        return cls(
            centres,
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
        return len(self.centres)

    @property
    def yaws(self) -> FloatArray:
        """Angle of the heading on the ground from x to y, (N,), radians."""
        return np.arctan2(self.headings[:, 1], self.headings[:, 0])

    def moved(self, matrix: ArrayLike) -> GroundBoxes:
        """The same boxes in another frame.

        Args:
            matrix: (4, 4), from this frame to the other.
        """
        whole = np.asarray(matrix, dtype=np.float64)
        turn = whole[:3, :3].T
        return replace(
            self,
            centres=self.centres @ turn + whole[:3, 3],
            headings=self.headings @ turn,
            velocities=self.velocities @ turn,
        )

    def where(self, chosen: Sequence[bool] | NDArray[np.bool_] | IntArray) -> GroundBoxes:
        """Some of the boxes.

        Args:
            chosen: Mask (N,) or numbers.
        """
        return GroundBoxes(*(value[chosen] for value in vars(self).values()))


def stands_in_camera(instances: Any) -> bool:
    """Whether MMDetection3D's boxes turn about the second axis, a camera's vertical."""
    return instances.YAW_AXIS == 1


def _rows(boxes: ArrayLike) -> FloatArray:
    rows = np.asarray(boxes, dtype=np.float64)
    return rows.reshape(len(rows), rows.shape[-1] if rows.ndim == 2 else 7)


def _velocity(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    if rows.shape[1] >= 9:
        return rows[:, 7], rows[:, 8]
    return np.full(len(rows), np.nan), np.full(len(rows), np.nan)
