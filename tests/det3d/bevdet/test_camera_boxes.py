"""Where boxes are in augmented images, against points drawn inside of them."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

pytest.importorskip('mmdet3d')
from mmdet3d.structures import Det3DDataSample

from sparsevit_mm.det3d.bevdet.bev_augmentation import BEVAugmentation
from sparsevit_mm.det3d.bevdet.camera_boxes import boxes_in_images
from sparsevit_mm.det3d.bevdet.cameras import CameraRig
from sparsevit_mm.det3d.bevdet.detector import BEVDet
from sparsevit_mm.det3d.bevdet.image_augmentation import CameraAugmentation
from sparsevit_mm.engine.objects import objects_of_batch
from sparsevit_mm.errors import ConfigError
from tests.helpers.boxes import boxes_at
from tests.helpers.ring import HEIGHT, WIDTH, YAWS, ring_info

SIZE = (96, 256)
CLASSES = ('car', 'pedestrian')


@pytest.fixture
def frame():
    """A frame with all of BEVDet's augmentation, and the boxes before it, in the LiDAR's frame."""
    random.seed(1)
    rng = np.random.default_rng(2)
    rig = CameraRig.from_info(ring_info(rng), tuple(YAWS))
    around = rng.uniform(-np.pi, np.pi, 24)
    far = rng.uniform(6, 30, 24)
    boxes = boxes_at(np.stack([far * np.cos(around), far * np.sin(around), -1 + 0 * far], 1), rng)
    results = dict(
        img=[np.zeros((HEIGHT, WIDTH, 3), np.uint8) for _ in YAWS],
        img_aug=np.tile(np.eye(3), (len(YAWS), 1, 1)),
        bev_aug=np.eye(3),
        lidar2bev=rig.lidar2bev,
        gt_bboxes_3d=boxes.clone(),
    )
    results = CameraAugmentation(SIZE, training=True)(results)
    results = BEVAugmentation(flip_x_prob=1.0, flip_y_prob=0.0)(results)
    instances = SimpleNamespace(
        bboxes_3d=results['gt_bboxes_3d'], labels_3d=torch.arange(len(boxes)) % 2
    )
    sample = SimpleNamespace(
        gt_instances_3d=instances, cam2img=rig.cam2img, cam2bev=rig.cam2bev,
        img_aug=results['img_aug'], bev_aug=results['bev_aug'],
    )  # fmt: skip
    return sample, boxes, rig


def pixels_inside(boxes, rig, camera, img_aug, ahead=False):
    """For each box the pixels of points in it before the map was augmented.

    None for a box of which any is behind the camera, unless those `ahead` are asked for.
    """
    steps = np.linspace(0, 1, 9)
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
    for corners in boxes.corners.double().numpy():
        low, along = corners[0], corners[[4, 3, 1]] - corners[0]
        points = low + grid @ along
        to_camera = np.linalg.inv(rig.cam2bev[camera])
        seen = points @ to_camera[:3, :3].T + to_camera[:3, 3]
        if (seen[:, 2] < 0.1).any() and not ahead:
            yield None
            continue
        seen = seen[seen[:, 2] >= 0.1]
        raw = seen @ rig.cam2img[camera].T
        yield raw[:, :2] / raw[:, 2:] @ img_aug[:2, :2].T + img_aug[:2, 2]


def test_rectangles_hold_all_points_of_a_box_and_no_more(frame):
    sample, boxes, rig = frame
    compared = 0
    for camera, (found, labels) in enumerate(boxes_in_images(sample)):
        inside = pixels_inside(boxes, rig, camera, sample.img_aug[camera])
        ahead = [(number, points) for number, points in enumerate(inside) if points is not None]
        for number, points in ahead:
            expected = np.concatenate([points.min(0), points.max(0)])
            nearest = np.abs(found - expected).max(1)
            assert nearest.min() < 0.01 + 1e-5 * np.abs(expected).max()
            assert labels[nearest.argmin()] == number % 2
            compared += 1
    assert compared > 20


def test_boxes_that_reach_behind_a_camera_hold_what_is_ahead(frame):
    """The rectangle may be larger than the image, but no point that is seen is outside of it."""
    sample, _, rig = frame
    beside = [(rig.cam2bev[1] @ [right, 0, 1, 1])[:3] for right in (-2, 2)]
    boxes = boxes_at(beside, np.random.default_rng(3))
    boxes.tensor[:, 3:6] = 6.0
    sample.bev_aug = np.eye(3)
    sample.gt_instances_3d = SimpleNamespace(bboxes_3d=boxes, labels_3d=torch.tensor([0, 1]))
    found, labels = boxes_in_images(sample)[1]
    assert labels.tolist() == [0, 1]
    for box, points in zip(found, pixels_inside(boxes, rig, 1, sample.img_aug[1], ahead=True)):
        assert len(points) > 50
        assert (points >= box[:2] - 0.01).all()
        assert (points <= box[2:] + 0.01).all()


@pytest.fixture
def detector_frame(frame):
    """The frame as a data sample, and what of a BEVDet tells where its boxes are."""
    sample, _, rig = frame
    sample.img_aug, sample.bev_aug = np.tile(np.eye(3), (len(YAWS), 1, 1)), np.eye(3)
    packed = Det3DDataSample(
        metainfo={key: getattr(sample, key) for key in ('cam2img', 'cam2bev', 'img_aug', 'bev_aug')}
    )
    ahead = rig.cam2bev[1] @ [0, 0, 10, 1]
    packed.gt_instances_3d = InstanceData(
        bboxes_3d=boxes_at(ahead[:3], np.random.default_rng(0)), labels_3d=torch.tensor([1])
    )
    return packed, SimpleNamespace(boxes_in_images=BEVDet.boxes_in_images)


def batch_of(*samples):
    images = [torch.zeros(6, 3, HEIGHT, WIDTH)] * len(samples)
    return {'inputs': {'img': images}, 'data_samples': list(samples)}


def test_boxes_behind_every_camera_but_one_are_in_its_image_alone(detector_frame):
    sample, model = detector_frame
    found = objects_of_batch(batch_of(sample, sample), model, CLASSES, None)
    assert found.shape == (12, HEIGHT, WIDTH)
    assert found.any(-1).any(-1).tolist() == [False, True, False, False, False, False] * 2
    rows, columns = found[1].nonzero().double().mean(0).tolist()
    assert (columns, rows) == pytest.approx((WIDTH / 2 + 3, HEIGHT / 2 - 2), abs=6)
    assert not objects_of_batch(batch_of(sample), model, CLASSES, ['car']).any()
    sample.gt_instances_3d.labels_3d[:] = -1  # of a class that the data set leaves out
    assert not objects_of_batch(batch_of(sample), model, CLASSES, None).any()
    sample.gt_instances_3d = sample.gt_instances_3d[:0]
    assert not objects_of_batch(batch_of(sample), model, CLASSES, None).any()


def test_frames_without_labels_or_calibration_are_one_sentence(detector_frame):
    sample, model = detector_frame
    del sample.gt_instances_3d
    with pytest.raises(ConfigError, match="importance is 'learned', but must be another one"):
        objects_of_batch(batch_of(sample), model, CLASSES, None)
    with pytest.raises(ConfigError, match='the data samples lack cam2img, cam2bev, img_aug, bev'):
        objects_of_batch(batch_of(Det3DDataSample()), model, CLASSES, None)
