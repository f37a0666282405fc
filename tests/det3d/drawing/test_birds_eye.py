"""The view from above and the cameras over it: boxes end up where they stand."""

from __future__ import annotations

import numpy as np
import pytest

from sparsevit_mm.det3d.drawing.birds_eye import (
    BoxesInFrame,
    CameraImage,
    draw_birds_eye,
    draw_surroundings,
)

RED, BLUE = (255, 0, 0), (0, 0, 255)
NONE = BoxesInFrame(np.zeros((0, 8, 3)), [])
LIDAR2EGO = np.array([[0.0, 1, 0, 0.9], [-1, 0, 0, 0], [0, 0, 1, 1.8], [0, 0, 0, 1]])
"""nuScenes': x of the LiDAR points to the right, y ahead."""


def box(x, y, length=4.0, width=2.0):
    """(8, 3) corners of a box heading along x, in MMDetection3D's order."""
    signs = [(-1, -1, -1), (-1, -1, 1), (-1, 1, 1), (-1, 1, -1)]
    signs += [(1, b, c) for _, b, c in signs]
    return np.array([x, y, 0.0]) + np.array(signs) * [length / 2, width / 2, 0.8]


def middle_of_color(picture, color):
    """Row and column, -1 to 1 from the lower left, where a color dominates."""
    far = np.abs(picture.astype(int) - color).sum(-1)
    rows, cols = np.nonzero(far < 180)
    assert len(rows)
    side = len(picture)
    return 1 - 2 * rows.mean() / side, 2 * cols.mean() / side - 1


@pytest.mark.parametrize(
    'matrix, x, y', [(None, 15.0, 10.0), (LIDAR2EGO, -10.0, 14.1)], ids=['vehicle', 'lidar']
)
def test_ahead_is_up_and_left_is_left(matrix, x, y):
    """The same box 15 m ahead and 10 m to the left, said in two frames."""
    boxes = BoxesInFrame(box(x, y)[None], [RED])
    picture = draw_birds_eye(boxes, lidar2ego=matrix, reach=25.0, side=400)
    assert picture.shape == (400, 400, 3)
    up, right = middle_of_color(picture, RED)
    # The plot is a little smaller than the picture.
    assert up == pytest.approx(0.96 * 15 / 25, abs=0.03)
    assert right == pytest.approx(-0.96 * 10 / 25, abs=0.03)


def test_annotated_boxes_are_outlines_of_their_own():
    alone = draw_birds_eye(NONE, reach=25.0, side=300)
    truth = BoxesInFrame(box(10, -10, 6, 6)[None], [RED])
    picture = draw_birds_eye(NONE, truth, reach=25.0, side=300)
    rows, cols = np.nonzero((picture != alone).any(-1))
    inside = (rows < 150) & (cols > 150)
    assert inside.sum() > 40
    up, right = 1 - 2 * rows[inside].mean() / 300, 2 * cols[inside].mean() / 300 - 1
    assert (up, right) == pytest.approx((0.96 * 0.4, 0.96 * 0.4), abs=0.04)


def test_only_the_camera_that_sees_a_box_shows_it():
    """Two cameras, ahead and behind: the box ahead is in the first picture, at its projection."""
    image = np.full((80, 160, 3), 128, np.uint8)
    cam2img = np.array([[100.0, 0, 80], [0, 100, 40], [0, 0, 1]])
    ahead = np.eye(4)
    ahead[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    behind = ahead.copy()
    behind[:3, :3] = [[0, 1, 0], [0, 0, -1], [-1, 0, 0]]
    cameras = {
        'CAM_FRONT': CameraImage(image, cam2img, ahead),
        'CAM_BACK': CameraImage(image, cam2img, behind),
    }
    boxes = BoxesInFrame(box(12, 3)[None], [BLUE], ['car 0.90'])
    drawn = draw_surroundings(cameras, boxes, NONE, reach=25.0)
    empty = draw_surroundings(cameras, NONE, NONE, reach=25.0)
    height, side = 30 + 240, 960
    assert drawn.shape == (height + 6 + side, 2 * 480 + 6, 3)
    changed = (drawn != empty).any(-1)
    assert not changed[:height, 486:].any(), 'behind there is nothing'
    rows, cols = np.nonzero(np.abs(drawn[:height, :480].astype(int) - BLUE).sum(-1) < 60)
    # 3 m to the left at 10 to 14 m: columns from 80 - 100 * 4 / 10 to 80 - 100 * 2 / 14.
    assert cols.min() / 3 == pytest.approx(40, abs=2)
    under_the_caption = rows > rows.min() + 20
    assert cols[under_the_caption].max() / 3 == pytest.approx(80 - 200 / 14, abs=2)
    assert changed[height + 6 :].any()


def test_annotated_boxes_are_white_in_the_pictures():
    image = np.full((80, 160, 3), 128, np.uint8)
    cam2img = np.array([[100.0, 0, 80], [0, 100, 40], [0, 0, 1]])
    ahead = np.eye(4)
    ahead[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    truth = BoxesInFrame(box(12, 0)[None], [(255, 255, 255)])
    drawn = draw_surroundings({'CAM_FRONT': CameraImage(image, cam2img, ahead)}, NONE, truth)
    picture = drawn[30 : 30 + 240, :480].astype(int)
    rows, cols = np.nonzero((picture > 240).all(-1))
    assert len(rows)
    assert abs(cols.mean() / 3 - 80) < 3
    assert set(map(tuple, picture.reshape(-1, 3))) <= {(v, v, v) for v in range(256)}
