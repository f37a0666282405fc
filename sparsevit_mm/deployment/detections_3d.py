"""MMDetection3D's decoding of FCOS3D and SMOKE with fixed numbers of boxes, for exported graphs.

As in `detections`, every image has the same number of places for boxes. Cameras enter as a tensor,
so that one file serves all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevit_mm.deployment.ground_nms import overlapping_more, suppress_on_ground
from sparsevit_mm.deployment.onnx_operators import NO_BOX


class Boxes3D(NamedTuple):
    """3D boxes of a batch, the best first.

    Attributes:
        boxes: (B, N, 7 or 9): x, y and z of the center of the bottom, the three extents, yaw and
            maybe two of the velocity, as MMDetection3D orders them.
        scores: (B, N); `NO_BOX` where there is no box.
        labels: (B, N) int64, index of the class.
        attributes: (B, N) int64, index of the attribute, such as 'parked'; None without.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    attributes: Tensor | None = None


def fcos3d_boxes(head: Any, outputs: Sequence[Sequence[Tensor]], cam2img: Tensor) -> Boxes3D:
    """What `FCOSMono3DHead.predict_by_feat` finds, in the frame of the camera.

    Args:
        head: MMDetection3D's FCOSMono3DHead.
        outputs: What its forward pass returns: of every level class scores, box regressions,
            directions, attributes and centerness.
        cam2img: (B, 4, 4) projections into pixels of the network's input.
    """
    cfg = head.test_cfg
    maps = outputs[0]
    points_of_levels = head.get_points(
        [level.shape[-2:] for level in maps], maps[0].dtype, maps[0].device
    )
    levels = []
    for points, raw_scores, boxes, directions, attributes, centerness in zip(
        points_of_levels, *outputs
    ):
        scores = _by_place(raw_scores).sigmoid() * _by_place(centerness).sigmoid()
        boxes = _by_place(boxes)[..., : head.bbox_code_size]
        boxes = torch.cat([points - boxes[..., :2], boxes[..., 2:]], -1)
        direction = _by_place(directions).argmax(-1, keepdim=True)
        attribute = direction
        if head.pred_attrs:
            attribute = _by_place(attributes).argmax(-1, keepdim=True)
        found: tuple[Tensor, ...] = (scores, boxes, direction, attribute)
        if 0 < cfg.get('nms_pre', -1) < scores.shape[1]:
            best = scores.amax(-1).topk(cfg.nms_pre).indices.unsqueeze(2)
            found = tuple(value.gather(1, best.expand(-1, -1, value.shape[2])) for value in found)
        levels.append(found)
    scores, boxes, direction, attribute = (torch.cat(of, 1) for of in zip(*levels))

    centers = unprojected(boxes[..., :2], boxes[..., 2], cam2img)
    yaw = boxes[..., 6] - head.dir_offset
    yaw = yaw - (yaw / math.pi).floor() * math.pi + head.dir_offset
    yaw = yaw + math.pi * direction.squeeze(2)
    ray = torch.atan2(boxes[..., 0] - cam2img[:, 0, 2:3], cam2img[:, 0, 0:1].expand_as(yaw))
    yaw = (yaw + ray).unsqueeze(2)
    boxes = torch.cat([centers, boxes[..., 3:6], yaw, boxes[..., 7:]], -1)

    scores = torch.where(scores > cfg.score_thr, scores, NO_BOX)
    from_above = boxes[..., [0, 2, 3, 5, 6]]
    turned = -from_above[..., 4:] if cfg.use_rotate_nms else torch.zeros_like(yaw)
    limit = min(cfg.max_per_img, scores.shape[1] * scores.shape[2])
    kept = suppress_on_ground(
        torch.cat([from_above[..., :4], turned], -1), scores, overlapping_more(cfg.nms_thr), limit
    )
    scores, places = torch.where(kept > 0, scores, NO_BOX).flatten(1).topk(limit)
    labels, places = places % kept.shape[2], (places // kept.shape[2]).unsqueeze(2)
    boxes = boxes.gather(1, places.expand(-1, -1, boxes.shape[2]))
    attributes = attribute.gather(1, places).squeeze(2) if head.pred_attrs else None
    return Boxes3D(_on_bottoms(boxes), scores, labels, attributes)


SMOKE_BOXES, SMOKE_THRESHOLD = 100, 0.25
"""How many boxes MMDetection3D's SMOKE takes of an image, and above which score."""


def smoke_boxes(
    head: Any, outputs: Sequence[Sequence[Tensor]], cam2img: Tensor, image_size: Sequence[int]
) -> Boxes3D:
    """What `SMOKEMono3DHead.predict_by_feat` finds, in the frame of the camera.

    Args:
        head: MMDetection3D's SMOKEMono3DHead.
        outputs: What its forward pass returns: probabilities of centers and regressions.
        cam2img: (B, 4, 4) projections into pixels of the network's input.
        image_size: Height and width of the network's input.
    """
    (heat,), (regressions,) = outputs
    batch, _, height, width = heat.shape
    peaks = heat * (F.max_pool2d(heat, 3, stride=1, padding=1) == heat)
    scores, places = peaks.flatten(1).topk(SMOKE_BOXES)
    labels, places = places // (height * width), places % (height * width)
    coded = _by_place(regressions).gather(1, places.unsqueeze(2).expand(-1, -1, 8)).flatten(0, 1)
    coder = head.bbox_coder
    depth = coder._decode_depth(coded[:, 0]).reshape(batch, -1)
    pixels = torch.stack([places % width, places // width], -1)
    pixels = pixels + coded[:, 1:3].reshape(batch, -1, 2)
    stride = pixels.new_tensor([image_size[1] / width, image_size[0] / height])
    centers = unprojected(pixels * stride, depth, cam2img)
    extents = coder._decode_dimension(labels, coded[:, 3:6]).reshape(batch, -1, 3)
    sine, cosine = coded[:, 6].reshape(batch, -1), coded[:, 7].reshape(batch, -1)
    yaw = torch.atan(sine / (cosine + 1e-7)) + torch.where(cosine >= 0, -0.5, 0.5) * math.pi
    yaw = yaw + torch.atan(centers[..., 0] / (centers[..., 2] + 1e-7))
    yaw = yaw - 2 * math.pi * ((yaw > math.pi).to(yaw) - (yaw < -math.pi).to(yaw))
    boxes = torch.cat([centers, extents, yaw.unsqueeze(2)], -1)
    scores = torch.where(scores > SMOKE_THRESHOLD, scores, NO_BOX)
    return Boxes3D(_on_bottoms(boxes), scores, labels)


def unprojected(pixels: Tensor, depth: Tensor, cam2img: Tensor) -> Tensor:
    """Places in the frame of the camera.

    Args:
        pixels: (B, N, 2).
        depth: (B, N), meters.
        cam2img: (B, 4, 4); the last row is (0, 0, 0, 1).

    Returns:
        (B, N, 3), meters.
    """
    projected = torch.cat([pixels * depth.unsqueeze(2), depth.unsqueeze(2)], -1)
    turn, offset = inverse_3x3(cam2img[:, :3, :3]), cam2img[:, :3, 3]
    return (projected - offset.unsqueeze(1)) @ turn.transpose(1, 2)


def inverse_3x3(matrices: Tensor) -> Tensor:
    """Inverses of (..., 3, 3) matrices, for which ONNX has no operator."""
    first, second, third = matrices.unbind(-2)
    columns = torch.stack([_cross(second, third), _cross(third, first), _cross(first, second)], -1)
    determinant = (first * columns[..., 0]).sum(-1)
    return columns / determinant[..., None, None]


def _cross(one: Tensor, other: Tensor) -> Tensor:
    after, before = [1, 2, 0], [2, 0, 1]
    return one[..., after] * other[..., before] - one[..., before] * other[..., after]


def _by_place(maps: Tensor) -> Tensor:
    """(B, channels, H, W) as (B, H * W, channels)."""
    return maps.permute(0, 2, 3, 1).flatten(1, 2)


def _on_bottoms(boxes: Tensor) -> Tensor:
    """Boxes of which the center is given, in a frame whose y points down, by their bottom."""
    bottom = boxes[..., 1:2] + boxes[..., 4:5] / 2
    return torch.cat([boxes[..., :1], bottom, boxes[..., 2:]], -1)
