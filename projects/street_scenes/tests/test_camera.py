"""The pinhole: rays, projection and the rectangles that boxes are looked for in."""

from __future__ import annotations

import numpy as np
import pytest

from projects.street_scenes.camera import Camera
from projects.street_scenes.solids import box_corners

CAMERA = Camera(40, 24, focal=30.0, position=(1.0, -0.5, 1.6), yaw=0.2, pitch=-0.1)


def test_rays_and_projection_are_inverse():
    depth = np.linspace(1, 50, 40 * 24)
    points = CAMERA.rays() * depth[:, None] + CAMERA.position
    pixels, found_depth = CAMERA.project(points)
    rows, cols = np.mgrid[:24, :40]
    np.testing.assert_allclose(pixels, np.stack([cols.ravel(), rows.ravel()], 1), atol=1e-3)
    np.testing.assert_allclose(found_depth, depth, rtol=1e-5)


def test_axes():
    camera = Camera(41, 21, focal=20.0, position=(0, 0, 0))
    ahead, left, above = np.array([[10.0, 0, 0], [10, 2, 0], [10, 0, 2]])
    np.testing.assert_allclose(camera.to_camera(ahead), [0, 0, 10], atol=1e-12)
    np.testing.assert_allclose(camera.to_camera(left), [-2, 0, 10], atol=1e-12)
    np.testing.assert_allclose(camera.to_camera(above), [0, -2, 10], atol=1e-12)
    turned = Camera(41, 21, focal=20.0, position=(0, 0, 0), yaw=0.1, pitch=0.1)
    # Turning left moves things right, turning down moves them up.
    assert turned.to_camera(ahead)[0] > 0
    assert turned.to_camera(ahead)[1] < 0
    np.testing.assert_allclose(turned.rotation @ turned.rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turned.rotation) == pytest.approx(1)


def test_rectangles_hold_everything_of_a_box_that_is_seen():
    rng = np.random.default_rng(0)
    boxes = box_corners(np.array([1.0, 1.5, 0.8])) + rng.uniform(-8, 8, (200, 1, 3))
    rectangles = CAMERA.image_rectangles(boxes)
    seen = 0
    for corners, (left, top, right, bottom) in zip(boxes, rectangles):
        inside = rng.uniform(corners.min(0), corners.max(0), (200, 3))
        pixels, depth = CAMERA.project(inside)
        visible = (depth > 0.1) & (pixels >= 0).all(1) & (pixels <= [39, 23]).all(1)
        pixels = pixels[visible]
        seen += len(pixels) > 0
        if len(pixels):
            assert (pixels >= [left - 1e-9, top - 1e-9]).all()
            assert (pixels <= [right - 1 + 1e-9, bottom - 1 + 1e-9]).all()
    assert seen > 10


def test_box_behind_the_camera_has_an_empty_rectangle():
    corners = box_corners(np.ones(3)) - np.array([20.0, 0, 0])
    left, top, right, bottom = CAMERA.image_rectangles(corners[None])[0]
    assert (right - left) * (bottom - top) == 0
