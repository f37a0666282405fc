"""NMS on the ground keeps what mmcv's compiled operator and MMDetection3D keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparsevit_mm.deployment.ground_nms import (
    closer_than,
    common_area,
    overlapping_more,
    suppress_on_ground,
)
from sparsevit_mm.deployment.onnx_operators import NO_BOX


def random_boxes(number, seed=0):
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(number, 5, generator=generator) * torch.tensor([9.0, 9, 4, 2, 9])
    return boxes + torch.tensor([0, 0, 0.2, 0.2, -4.5])


def test_common_areas_are_those_of_mmcv():
    from mmcv.ops import box_iou_rotated

    boxes = random_boxes(60)
    areas = boxes[:, 2] * boxes[:, 3]
    wanted = box_iou_rotated(boxes, boxes)
    found = common_area(boxes[:, None], boxes[None].expand(60, -1, -1))
    ious = found / (areas[:, None] + areas - found)
    torch.testing.assert_close(ious, wanted, atol=1e-4, rtol=0)
    assert (wanted > 0.05).sum() > 200
    torch.testing.assert_close(ious.diagonal(), torch.ones(60))


@pytest.mark.parametrize('turn', [0.0, 0.7, np.pi / 2, np.pi])
def test_equal_boxes_and_boxes_inside(turn):
    box = torch.tensor([[[3.0, -2.0, 4.0, 2.0, turn]]])
    others = torch.cat([box, box * torch.tensor([1, 1, 0.5, 0.5, 1]), box + 9.0], 1)
    torch.testing.assert_close(common_area(box, others), torch.tensor([[8.0, 2.0, 0.0]]))


def test_keeps_what_mmcv_keeps():
    from mmcv.ops import nms_rotated

    boxes = torch.stack([random_boxes(80), random_boxes(80, seed=1)])
    scores = torch.rand(2, 80, 3, generator=torch.Generator().manual_seed(2))
    scores = torch.where(scores > 0.3, scores, NO_BOX)
    kept = suppress_on_ground(boxes, scores, overlapping_more(0.2), 1000)
    for image in range(2):
        for number in range(3):
            (present,) = torch.where(scores[image, :, number] > 0)
            _, best = nms_rotated(boxes[image, present], scores[image, present, number], 0.2)
            assert len(best) < len(present)
            assert torch.equal(kept[image, :, number].nonzero()[:, 0], present[best].sort().values)
    few = suppress_on_ground(boxes, scores, overlapping_more(0.2), 5)
    values = torch.where(kept > 0, scores, NO_BOX).flatten(1).topk(5)
    assert torch.equal(few.flatten(1).nonzero()[:, 1].reshape(2, 5), values.indices.sort().values)


def test_distances_are_those_of_mmdetection3d():
    from mmdet3d.models.layers import circle_nms

    boxes = random_boxes(60)
    scores = torch.rand(60, generator=torch.Generator().manual_seed(2))
    kept = suppress_on_ground(boxes[None], scores[None, :, None], closer_than(1.5), 20)
    dets = torch.cat([boxes[:, :2], scores[:, None]], 1).numpy()
    wanted = circle_nms.py_func(dets, 1.5, post_max_size=20)  # compiling it takes long
    assert kept[0, :, 0].nonzero()[:, 0].tolist() == sorted(int(place) for place in wanted)
