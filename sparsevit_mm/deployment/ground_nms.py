"""NMS of boxes on the ground, with rotation or by the distance of centers, for exported graphs.

ONNX's `NonMaxSuppression` knows upright boxes alone. Here a loop takes the best box that is left
and removes those that overlap with it, which ends up as ONNX's `Loop`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevit_mm.deployment.onnx_operators import NO_BOX
from sparsevit_mm.ops.compat import is_exporting

_LOWEST_SCORE = NO_BOX / 2
_SMALLEST = 1e-9
"""Stands for an edge's extent of 0, which would be divided by."""

Overlapping = Callable[[Tensor, Tensor], Tensor]
"""Of a (B, 1, 5) box and (B, N, 5) boxes, (B, N): which of them go if the first one stays."""


def suppress_on_ground(
    boxes: Tensor, scores: Tensor, overlapping: Overlapping, limit: int
) -> Tensor:
    """Non-maximum suppression inside every class of every image.

    Args:
        boxes: (B, N, 5): center x and y, extents along the box's own axes, angle from x to y.
        scores: (B, N, classes); `NO_BOX` where there is no box.
        overlapping: Which boxes go together.
        limit: Largest number of boxes to keep in an image, over all classes.

    Returns:
        (B, N, classes): 1 where a box is kept, else 0.
    """
    classes = scores.shape[2]

    def goes_on(step: Tensor, left: Tensor, kept: Tensor) -> Tensor:
        return (step < limit) & (left > _LOWEST_SCORE).any()

    def keep_best(step: Tensor, left: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        best, place = left.flatten(1).max(1)
        chosen = (place // classes)[:, None, None].expand(-1, 1, 5)
        rivals = overlapping(boxes.gather(1, chosen), boxes)
        of_class = F.one_hot(place % classes, classes).bool().unsqueeze(1)
        mark = F.one_hot(place, left.shape[1] * classes).to(left).reshape(left.shape)
        mark = torch.where(best[:, None, None] > _LOWEST_SCORE, mark, 0.0)
        gone = (rivals.unsqueeze(2) & of_class) | (mark > 0)
        return step + 1, torch.where(gone, NO_BOX, left), kept + mark

    state = (torch.zeros((), dtype=torch.int64), scores.clone(), torch.zeros_like(scores))
    if is_exporting():
        from torch._higher_order_ops import while_loop

        _, _, kept = while_loop(goes_on, keep_best, state)
        return kept
    while goes_on(*state):
        state = keep_best(*state)
    return state[2]


def closer_than(squared: float) -> Overlapping:
    """Boxes whose centers are at most so far apart.

    Args:
        squared: Square of the distance.
    """

    def overlapping(one: Tensor, boxes: Tensor) -> Tensor:
        apart = boxes[..., :2] - one[..., :2]
        return (apart * apart).sum(-1) <= squared

    return overlapping


def overlapping_more(iou_threshold: float) -> Overlapping:
    """Boxes whose IoU is above a threshold.

    Args:
        iou_threshold: The threshold.
    """

    def overlapping(one: Tensor, boxes: Tensor) -> Tensor:
        common = common_area(one, boxes)
        union = (boxes[..., 2] * boxes[..., 3] + one[..., 2] * one[..., 3] - common).clamp(
            min=_SMALLEST
        )
        return common > iou_threshold * union

    return overlapping


def common_area(one: Tensor, boxes: Tensor) -> Tensor:
    """Area of the part of boxes that lies in another box.

    In the frame of the one box, the outlines of the others are clamped to it: points outside move
    to its border. The area inside the clamped outline is that of the common part.

    Args:
        one: (B, 1, 5), see `suppress_on_ground`.
        boxes: (B, N, 5).

    Returns:
        (B, N).
    """
    offset, turn = boxes[..., :2] - one[..., :2], boxes[..., 4] - one[..., 4]
    center_x, center_y = _rotated(offset[..., 0], offset[..., 1], -one[..., 4])
    right, top = boxes[..., 2] / 2, boxes[..., 3] / 2
    corners_x = torch.stack([-right, right, right, -right], -1)
    corners_y = torch.stack([-top, -top, top, top], -1)
    x, y = _rotated(corners_x, corners_y, turn.unsqueeze(-1))
    x, y = x + center_x.unsqueeze(-1), y + center_y.unsqueeze(-1)
    dx, dy = (torch.cat([side[..., 1:], side[..., :1]], -1) - side for side in (x, y))
    half_x, half_y = one[..., 2:3] / 2, one[..., 3:4] / 2
    zero = torch.zeros_like(x)
    # Along each edge: where it enters and leaves the box's range of y, and between of x.
    enters, leaves = _inside(y, dy, half_y, zero, zero + 1)
    breaks = [enters, *_inside(x, dx, half_x, enters, leaves), leaves]
    places = [
        (_clamped(x + dx * share, half_x), _clamped(y + dy * share, half_y)) for share in breaks
    ]
    area = zero
    for (left, low), (right, high) in pairwise(places):
        area = area + (left + right) / 2 * (high - low)
    return area.sum(-1).clamp(min=0)


def _rotated(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    cos, sin = angle.cos(), angle.sin()
    return x * cos - y * sin, x * sin + y * cos


def _inside(
    start: Tensor, extent: Tensor, half: Tensor, first: Tensor, last: Tensor
) -> tuple[Tensor, Tensor]:
    """Shares of an edge at which its coordinate is -half and half, in order, in [first, last]."""
    extent = torch.where(extent.abs() < _SMALLEST, _SMALLEST, extent)
    one, other = (-half - start) / extent, (half - start) / extent
    between = (torch.minimum(one, other), torch.maximum(one, other))
    low, high = (torch.maximum(torch.minimum(share, last), first) for share in between)
    return low, high


def _clamped(value: Tensor, half: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(value, half), -half)
