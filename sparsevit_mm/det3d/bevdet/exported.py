"""BEVDet from the images of a frame and its cameras to boxes, with fixed numbers, for exports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sparsevit_mm.deployment.detections_3d import Boxes3D, inverse_3x3
from sparsevit_mm.deployment.ground_nms import closer_than, overlapping_more, suppress_on_ground
from sparsevit_mm.deployment.onnx_operators import NO_BOX
from sparsevit_mm.deployment.predictions import Predictions
from sparsevit_mm.deployment.predictions_3d import OUTPUTS, marked_3d, pinhole
from sparsevit_mm.det3d.bevdet.lift_splat import along_rays, frustum


class FrameDetections(Predictions):
    """(1, M, 9) boxes of one frame, (1, M) scores and (1, M) labels, the best first.

    Boxes are in the frame of the map: center of the bottom, extents, yaw and velocity. Places
    without a box have the score 0 and the label -1.

    Args:
        model: A `BEVDet`.
    """

    task = 'detection_3d'
    inputs = ('images', 'cam2img', 'cam2bev')
    outputs = OUTPUTS

    def other_inputs(self, batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Level cameras that look all around."""
        turns = torch.arange(batch, dtype=torch.float64) * (2 * torch.pi / batch)
        cos, sin, zero = turns.cos(), turns.sin(), torch.zeros_like(turns)
        poses = torch.eye(4, dtype=torch.float64).repeat(batch, 1, 1)
        # Right, down and ahead of a camera, in a frame whose third axis points up.
        poses[:, :3, 0] = torch.stack([sin, -cos, zero], 1)
        poses[:, :3, 1] = torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64)
        poses[:, :3, 2] = torch.stack([cos, sin, zero], 1)
        camera = pinhole(height, width)[:3, :3].double()
        return camera.expand(batch, 3, 3).contiguous(), poses

    def forward(self, images: Tensor, cam2img: Tensor, cam2bev: Tensor) -> tuple[Tensor, ...]:
        """Detects in the N images of one frame.

        Args:
            images: (N, C, H, W).
            cam2img: (N, 3, 3) float64, projections into pixels of these images.
            cam2bev: (N, 4, 4) float64, poses of the cameras in the frame of the map, meters.
        """
        model: Any = self.model
        lifting, features = model.view_transform, model.neck(model.backbone(images))
        probability, context = lifting.lift(features)
        depths = torch.arange(*lifting.depth, dtype=torch.float64, device=images.device)
        pixels = frustum(depths, features.shape[2], features.shape[3], lifting.stride)
        rays = cam2bev[:, :3, :3] @ inverse_3x3(cam2img)
        places, inside = lifting.grid.locate(
            along_rays(pixels, rays[None], cam2bev[None, :, :3, 3:])[0]
        )
        nx, ny, _ = lifting.grid.shape
        cells = (places[..., 2] * ny + places[..., 1]) * nx + places[..., 0]
        weights = torch.where(inside, probability, 0.0).unsqueeze(-1)
        content = (weights * context.unsqueeze(1)).flatten(0, 3)
        bev = lifting.splat(torch.where(inside, cells, 0).flatten(), content, 1)
        maps = model.bbox_head([model.bev_neck(model.bev_backbone(bev))])
        return marked_3d(frame_boxes(model.bbox_head, [of_task for (of_task,) in maps]))


def frame_boxes(head: Any, maps: list[Mapping[str, Tensor]]) -> Boxes3D:
    """What `BEVDetHead.predict_by_feat` finds, the best of all tasks first.

    Args:
        head: A `BEVDetHead`.
        maps: Of every task, what the head gives, by name.
    """
    found = [_boxes_of_task(head, of_task, task) for task, of_task in enumerate(maps)]
    boxes, scores, labels = (torch.cat(of, 1) for of in zip(*found))
    scores, order = scores.sort(1, descending=True)
    boxes = boxes.gather(1, order.unsqueeze(2).expand(-1, -1, boxes.shape[2]))
    bottom = boxes[..., 2:3] - boxes[..., 5:6] / 2
    boxes = torch.cat([boxes[..., :2], bottom, boxes[..., 3:]], -1)
    return Boxes3D(boxes, scores, labels.gather(1, order))


def _boxes_of_task(
    head: Any, maps: Mapping[str, Tensor], task: int
) -> tuple[Tensor, Tensor, Tensor]:
    coder = head.bbox_coder
    scores, places, classes, rows, columns = coder._topk(maps['heatmap'].sigmoid(), coder.max_num)

    def at(name: str) -> Tensor:
        found: Tensor = coder._transpose_and_gather_feat(maps[name], places)
        return found

    cells = torch.stack([columns, rows], -1) + at('reg')
    step = cells.new_tensor(coder.voxel_size[:2]) * coder.out_size_factor
    centers = cells * step + cells.new_tensor(coder.pc_range[:2])
    extents = at('dim').exp() if head.norm_bbox else at('dim')
    yaw = torch.atan2(*at('rot').split(1, dim=2))
    velocity = [at('vel')] if 'vel' in maps else []
    boxes = torch.cat([centers, at('height'), extents, yaw, *velocity], 2)
    lowest, highest = torch.as_tensor(coder.post_center_range, device=boxes.device).split(3)
    present = ((boxes[..., :3] >= lowest) & (boxes[..., :3] <= highest)).all(2)
    if coder.score_threshold:
        present = present & (scores > coder.score_threshold)
    labels = classes.long()
    factors = boxes.new_tensor(head._factors[task])[labels].unsqueeze(2)
    overlapping = closer_than(head._radii[task])
    if head._nms_types[task] == 'rotate':
        overlapping = overlapping_more(head._thresholds[task])
        present = present & (present.long().cumsum(1) <= head.test_cfg['pre_max_size'])
    scores = torch.where(present, scores, NO_BOX)
    from_above = torch.cat([centers, boxes[..., 3:5] * factors, yaw], -1)
    limit = min(head.test_cfg['post_max_size'], coder.max_num)
    kept = suppress_on_ground(from_above, scores.unsqueeze(2), overlapping, limit)
    scores, best = torch.where(kept.squeeze(2) > 0, scores, NO_BOX).topk(limit)
    boxes = boxes.gather(1, best.unsqueeze(2).expand(-1, -1, boxes.shape[2]))
    return boxes, scores, labels.gather(1, best) + sum(head.num_classes[:task])
