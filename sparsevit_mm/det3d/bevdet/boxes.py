"""Transforms 3D boxes from one frame to another."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def move_boxes(boxes: Any, matrix: Any) -> Any:
    """Transforms boxes to another frame whose third axis also points up.

    Boxes are upright in both frames. If the frames lean slightly against each other, only the
    centers are exact; headings and velocities are transformed as seen from above.

    Args:
        boxes: MMDetection3D's `LiDARInstance3DBoxes`, with velocity or without.
        matrix: (4, 4) rigid transform from the boxes' frame to the other.

    Returns:
        New boxes; `boxes` itself if the matrix is the identity.
    """
    if np.array_equal(matrix, np.eye(4)):
        return boxes
    moved = boxes.clone()
    table = moved.tensor
    move = torch.as_tensor(np.asarray(matrix), dtype=torch.float64, device=table.device)
    turn, offset = move[:3, :3], move[:3, 3]
    centers = boxes.gravity_center.double() @ turn.T + offset
    table[:, :3] = centers.to(table)
    table[:, 2] -= table[:, 5] / 2
    yaws = boxes.yaw.double()
    headings = torch.stack([yaws.cos(), yaws.sin()], dim=-1) @ turn[:2, :2].T
    table[:, 6] = torch.atan2(headings[:, 1], headings[:, 0]).to(table)
    if table.shape[1] > 7:
        table[:, 7:9] = (boxes.tensor[:, 7:9].double() @ turn[:2, :2].T).to(table)
    return moved
