"""Drawn 3D boxes lie where MMDetection3D puts them; what is behind the camera is left out."""

from __future__ import annotations

import numpy as np
import pytest

from sparsevit_mm.deployment.picture import color_of
from sparsevit_mm.deployment.picture_3d import corners_of, draw_boxes_3d, visible_edges

CAMERA = np.array([[50.0, 0, 40, 0], [0, 50, 30, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def test_corners_are_those_of_mmdetection3d():
    pytest.importorskip('mmdet3d', reason='MMDetection3D is not installed')
    import torch
    from mmdet3d.structures import CameraInstance3DBoxes

    boxes = np.random.default_rng(0).normal(size=(6, 7))
    boxes[:, 3:6] = np.abs(boxes[:, 3:6])
    theirs = CameraInstance3DBoxes(torch.from_numpy(boxes)).corners.numpy()
    for ours, wanted in zip(corners_of(boxes), theirs):
        apart = np.abs(ours[:, None] - wanted[None]).max(-1)
        assert (apart.min(0) < 1e-5).all() and len(set(apart.argmin(1))) == 8


def test_edges_are_projected_and_cut_behind_the_camera():
    before = np.array([[0.0, 1, 10, 2, 2, 2, 0]])
    (edges,) = visible_edges(before, CAMERA)
    assert edges.shape == (12, 2, 2)
    nearest = edges.reshape(-1, 2)
    np.testing.assert_allclose(nearest.min(0), [40 - 50 / 9, 30 - 50 / 9])
    np.testing.assert_allclose(nearest.max(0), [40 + 50 / 9, 30 + 50 / 9])
    reaching_behind, behind = before.copy(), before.copy()
    reaching_behind[0, 2], behind[0, 2] = 0.5, -5
    cut, gone = visible_edges(np.concatenate([reaching_behind, behind]), CAMERA)
    assert len(cut) == 8 and np.isfinite(cut).all()  # four edges lie behind the camera
    assert gone.shape == (0, 2, 2)


@pytest.mark.parametrize('channels', [1, 3])
def test_draws_a_box(channels):
    image = np.zeros((240, 320, channels), dtype=np.uint8)
    boxes = np.array([[0.0, 1, 10, 2, 2, 2, 0], [0, 1, -5, 2, 2, 2, 0]])
    camera = np.array([[200.0, 0, 160, 0], [0, 200, 120, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    drawn = draw_boxes_3d(image, boxes, camera, [0, 1], ['car', 'bus'])
    assert drawn.shape == (240, 320, 3)
    left = round(160 - 200 / 9)
    assert (drawn[125, left - 1 : left + 2] == color_of(0)).all(-1).any()
    assert not (drawn == color_of(1)).all(-1).any()
    assert not drawn[125, 160].any()  # inside, nothing is filled
