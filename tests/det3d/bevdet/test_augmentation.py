"""Bookkeeping of the images' and the map's augmentation, against pixels and boxes."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet3d')
from sparsevit_mm.det3d.bevdet.bev_augmentation import BEVAugmentation
from sparsevit_mm.det3d.bevdet.boxes import move_boxes
from sparsevit_mm.det3d.bevdet.image_augmentation import CameraAugmentation, ImageView
from sparsevit_mm.errors import ConfigError
from tests.helpers.boxes import boxes_at
from tests.helpers.ring import pose, rotation

SIZE = (256, 704)


def bookkeeping(view):
    """Step by step as published: R ×= scale, t −= crop, flip, turn about the middle."""
    turn, offset = np.eye(2) * view.scale, np.zeros(2)
    offset -= [view.left, view.top]
    if view.flip:
        mirror = np.diag([-1, 1])
        turn, offset = mirror @ turn, mirror @ offset + [704, 0]
    angle = view.degrees / 180 * np.pi
    spin = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = np.array([352, 128])
    return spin @ turn, spin @ (offset - middle) + middle


def test_matrix_follows_the_bookkeeping_to_a_fraction_of_a_pixel():
    random.seed(0)
    augmentation = CameraAugmentation(SIZE, training=True)
    points = np.random.default_rng(0).uniform(0, [1600, 900], (100, 2))
    for _ in range(50):
        view = augmentation.choose(900, 1600)
        turn, offset = bookkeeping(view)
        expected = points @ turn.T + offset
        mine = np.column_stack([points, np.ones(100)]) @ view.matrix.T
        assert np.abs(mine[:, :2] - expected).max() < 1e-4


@pytest.mark.parametrize(
    'view',
    [
        ImageView((90, 160), 0.5, 0, 0),
        ImageView((90, 160), 0.62, 31, 20),
        ImageView((90, 160), 0.62, 31, 20, flip=True),
        ImageView((90, 160), 0.55, 10, 5, flip=True, degrees=5.4),
        ImageView((90, 160), 0.55, 10, 5, degrees=-5.4),
        ImageView((90, 160), 0.45, 0, -9),  # smaller than what is wanted: black around it
    ],
)
def test_pixels_are_where_the_matrix_says(view):
    """The middle of a soft spot in the raw image, computed and seen."""
    columns, rows = np.meshgrid(np.arange(320) + 0.5, np.arange(180) + 0.5)
    for middle in ([170.0, 100.0], [140.0, 80.0]):
        spot = np.exp(-((columns - middle[0]) ** 2 + (rows - middle[1]) ** 2) / (2 * 6**2))
        image = np.repeat((255 * spot).astype(np.uint8)[..., None], 3, axis=2)
        seen = view.render(image)[..., 0].astype(float)
        assert seen.shape == (90, 160)
        across, down = np.meshgrid(np.arange(160) + 0.5, np.arange(90) + 0.5)
        found = np.array([(seen * across).sum(), (seen * down).sum()]) / seen.sum()
        expected = view.matrix @ [*middle, 1]
        assert np.abs(found - expected[:2]).max() < 0.5


def test_views_of_the_published_tests():
    released = CameraAugmentation(SIZE, training=False, test_scale_jitter=0.04)
    assert released.choose(900, 1600) == ImageView(SIZE, 0.48, 32, 176)
    later = CameraAugmentation(SIZE, training=False)
    assert later.choose(900, 1600) == ImageView(SIZE, 0.44, 0, 140)


def test_views_in_training_fill_the_published_ranges():
    random.seed(0)
    augmentation = CameraAugmentation(SIZE, training=True)
    views = [augmentation.choose(900, 1600) for _ in range(500)]
    scales, turns = np.array([(view.scale, view.degrees) for view in views]).T
    assert 0.38 <= scales.min() < 0.39
    assert 0.54 < scales.max() <= 0.55
    assert -5.4 <= turns.min() < -5.2
    assert 5.2 < turns.max() <= 5.4
    assert 0.4 < np.mean([view.flip for view in views]) < 0.6
    for view in views:
        assert view.top == int(900 * view.scale) - 256  # ends at the lower edge
        assert 0 <= view.left <= max(0, int(1600 * view.scale) - 704)


def test_each_camera_gets_its_own_view_on_top_of_what_was_there():
    random.seed(1)
    images = [np.full((90, 160, 3), number, np.uint8) for number in (50, 100)]
    before = np.stack([np.eye(3), np.diag([2.0, 2.0, 1.0])])
    results = CameraAugmentation((48, 80), training=True).transform(
        dict(img=images, img_aug=before)
    )
    random.seed(1)
    views = [CameraAugmentation((48, 80), training=True).choose(90, 160) for _ in images]
    np.testing.assert_allclose(results['img_aug'], [v.matrix @ b for v, b in zip(views, before)])
    assert [image.shape for image in results['img']] == [(48, 80, 3)] * 2
    assert not np.array_equal(results['img_aug'][0] * 1.0, results['img_aug'][1])
    assert results['img_shape'] == (48, 80)


@pytest.mark.parametrize('seed', range(8))
def test_boxes_follow_the_map(seed):
    rng = np.random.default_rng(seed)
    random.seed(seed)
    boxes = boxes_at(rng.uniform(-30, 30, (20, 3)), rng)
    before = boxes.clone()
    results = BEVAugmentation().transform(
        dict(bev_aug=np.eye(3), lidar2bev=np.eye(4), gt_bboxes_3d=boxes)
    )
    matrix, after = torch.tensor(results['bev_aug'], dtype=torch.float32), results['gt_bboxes_3d']
    assert not torch.allclose(matrix, torch.eye(3))
    torch.testing.assert_close(
        after.gravity_center, before.gravity_center @ matrix.T, rtol=0, atol=1e-4
    )
    torch.testing.assert_close(
        after.tensor[:, 7:], before.tensor[:, 7:] @ matrix[:2, :2].T, rtol=0, atol=1e-4
    )
    # A flip renumbers corners: every corner is found among those of the moved box.
    distances = torch.cdist(before.corners @ matrix.T, after.corners)
    assert distances.amin(dim=2).max() < 1e-3

    # The heading is that of the length, not turned round: middle of the front face.
    def heading(table):
        return torch.stack([table[:, 6].cos(), table[:, 6].sin()], dim=1)

    expected = torch.nn.functional.normalize(heading(before.tensor) @ matrix[:2, :2].T, dim=1)
    torch.testing.assert_close(heading(after.tensor), expected, rtol=0, atol=1e-4)


def test_ranges_of_the_map():
    random.seed(0)
    matrices = [
        BEVAugmentation().transform(dict(bev_aug=np.eye(3), lidar2bev=np.eye(4)))['bev_aug']
        for _ in range(500)
    ]
    scales = np.array([np.cbrt(abs(np.linalg.det(matrix))) for matrix in matrices])
    assert 0.95 <= scales.min() < 0.96
    assert 1.04 < scales.max() <= 1.05
    flips = np.array([np.linalg.det(matrix) < 0 for matrix in matrices])
    assert 0.4 < flips.mean() < 0.6
    turns = np.rad2deg([np.arctan2(abs(m[1, 0]), abs(m[0, 0])) for m in matrices])
    assert 22 < turns.max() <= 22.5


def test_unknown_velocities_become_zero_and_no_boxes_are_fine():
    rng = np.random.default_rng(0)
    boxes = boxes_at([[1, 2, 0], [3, 4, 0]], rng)
    boxes.tensor[0, 7:] = torch.nan
    results = BEVAugmentation().transform(
        dict(bev_aug=np.eye(3), lidar2bev=np.eye(4), gt_bboxes_3d=boxes)
    )
    assert results['gt_bboxes_3d'].tensor[0, 7:].tolist() == [0, 0]
    assert torch.isfinite(results['gt_bboxes_3d'].tensor).all()
    none = boxes_at(np.zeros((0, 3)), rng)
    results = BEVAugmentation().transform(
        dict(bev_aug=np.eye(3), lidar2bev=pose(rotation(1.5), [1, 2, 3]), gt_bboxes_3d=none)
    )
    assert results['gt_bboxes_3d'].tensor.shape == (0, 9)


def test_boxes_without_velocity_move_too():
    rng = np.random.default_rng(0)
    results = BEVAugmentation().transform(
        dict(
            bev_aug=np.eye(3),
            lidar2bev=pose(rotation(1.5), [1, 2, 3]),
            gt_bboxes_3d=boxes_at([[1, 2, 0]], rng, velocity=False),
        )
    )
    assert results['gt_bboxes_3d'].tensor.shape == (1, 7)


def test_moving_boxes_there_and_back():
    rng = np.random.default_rng(0)
    boxes, matrix = boxes_at(rng.uniform(-30, 30, (20, 3)), rng), pose(rotation(2.0), [1, 2, 0.5])
    moved = move_boxes(boxes, matrix)
    corners = boxes.corners.double() @ torch.tensor(matrix[:3, :3]).T + torch.tensor(matrix[:3, 3])
    torch.testing.assert_close(moved.corners.double(), corners, rtol=0, atol=1e-4)
    back = move_boxes(moved, np.linalg.inv(matrix))
    torch.testing.assert_close(back.corners, boxes.corners, rtol=0, atol=1e-4)
    torch.testing.assert_close(back.tensor[:, 7:], boxes.tensor[:, 7:], rtol=0, atol=1e-4)
    leaning = pose(rotation(0.3, 0.02, -0.03), [1, 2, 0.5])
    there = move_boxes(boxes, leaning).gravity_center.double()
    expected = boxes.gravity_center.double() @ torch.tensor(leaning[:3, :3]).T
    torch.testing.assert_close(there, expected + torch.tensor(leaning[:3, 3]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: CameraAugmentation((0, 704), True), r'size is \(0, 704\)'),
        (lambda: CameraAugmentation(SIZE, True, scale_jitter=(1, 0)), 'scale_jitter is'),
        (lambda: CameraAugmentation(SIZE, True, flip_prob=2), 'flip_prob is 2'),
        (
            lambda: CameraAugmentation(SIZE, False, test_scale_jitter=-1).choose(900, 1600),
            'must be positive',
        ),
        (lambda: BEVAugmentation(scale=(1.1, 0.9)), r'scale is \(1\.1, 0\.9\)'),
        (lambda: BEVAugmentation(flip_x_prob=-1), 'flip_x_prob is -1'),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
