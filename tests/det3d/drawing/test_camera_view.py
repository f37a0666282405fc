"""3D boxes in pictures: where edges end, and that what is behind the camera stays out."""

from __future__ import annotations

import numpy as np
import pytest

from sparsevit_mm.det3d.drawing.camera_view import EDGES, draw_boxes_3d, project_edges

CAM2IMG = np.array([[100.0, 0, 60], [0, 100, 40], [0, 0, 1]])
RED = (255, 0, 0)


def corners_of(x, y, z, size=2.0):
    """A cube around a point, its corners in MMDetection3D's order."""
    signs = [(-1, -1, -1), (-1, -1, 1), (-1, 1, 1), (-1, 1, -1)]
    signs += [(1, b, c) for _, b, c in signs]
    return np.array([x, y, z]) + np.array(signs) * size / 2


def test_corners_are_in_the_order_of_mmdet3d():
    structures = pytest.importorskip('mmdet3d.structures')
    boxes = structures.CameraInstance3DBoxes([[1, 2, 9, 2, 2, 2, 0]], origin=(0.5, 0.5, 0.5))
    np.testing.assert_allclose(boxes.corners[0], corners_of(1, 2, 9), atol=1e-6)


def test_edges_are_the_twelve_of_a_cube():
    cube = corners_of(0, 0, 10)
    assert len(EDGES) == 12
    for first, second in EDGES:
        assert np.linalg.norm(cube[first] - cube[second]) == pytest.approx(2)


def test_ends_are_projections_of_corners():
    cube = corners_of(0.5, -1, 10)
    lines, owners = project_edges(cube[None], CAM2IMG)
    projected = cube @ CAM2IMG.T
    projected = projected[:, :2] / projected[:, 2:]
    assert owners.tolist() == [[0, edge] for edge in range(12)]
    for line, (first, second) in zip(lines, EDGES):
        np.testing.assert_allclose(line, projected[[first, second]])


def test_edges_through_the_camera_are_cut_off_in_front_of_it():
    cube = corners_of(0, 3, 0.5)  # from half a meter behind to one and a half in front
    lines, owners = project_edges(cube[None], CAM2IMG)
    assert len(lines) == 8  # the four behind are gone
    assert np.isfinite(lines).all()
    assert (lines[..., 1] > 40).all(), 'what is below the axis stays below it'
    for line, (_, edge) in zip(lines, owners):
        ends = cube[list(EDGES[edge])]
        if (ends[:, 2] < 0).any():
            x, y, _ = ends[0]
            cut = line[np.argmax(np.abs(line - (60, 40)).sum(-1))]
            np.testing.assert_allclose(cut, [60 + 100 * x / 0.1, 40 + 100 * y / 0.1])


def test_pictures_show_boxes_in_front_only():
    image = np.zeros((80, 120, 3), np.uint8)
    front, back = corners_of(0, 0, 10), corners_of(0, 0, -10)
    drawn = draw_boxes_3d(image, np.stack([front, back]), CAM2IMG, [RED, RED], ['a', 'b'])
    only_front = draw_boxes_3d(image, front[None], CAM2IMG, [RED], ['a'])
    np.testing.assert_array_equal(drawn, only_front)
    assert image.max() == 0
    rows, cols = np.nonzero(draw_boxes_3d(image, front[None], CAM2IMG, [RED])[..., 0] > 127)
    for pixels, middle in ((rows, 40), (cols, 60)):  # a meter at nine meters is eleven pixels
        assert abs(pixels.min() - (middle - 11)) <= 1
        assert abs(pixels.max() - (middle + 11)) <= 1


def test_near_boxes_lie_over_far_ones():
    image = np.zeros((80, 120, 3), np.uint8)
    boxes = np.stack([corners_of(0, 0, 6), corners_of(0, 0, 6.001)])
    first = draw_boxes_3d(image, boxes, CAM2IMG, [RED, (0, 0, 255)])
    second = draw_boxes_3d(image, boxes[::-1], CAM2IMG, [(0, 0, 255), RED])
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize('cam2img', [CAM2IMG, np.pad(CAM2IMG, (0, 1))])
def test_no_boxes_and_padded_projections(cam2img):
    image = np.zeros((8, 8, 3), np.uint8)
    np.testing.assert_array_equal(draw_boxes_3d(image, np.zeros((0, 8, 3)), cam2img, []), image)
    drawn = draw_boxes_3d(image, corners_of(0, 0, 3)[None], cam2img, [RED])
    assert drawn.shape == image.shape


def test_boxes_out_of_view_leave_no_caption():
    image = np.full((80, 120, 3), 90, np.uint8)
    beside = corners_of(30, 0, 10)  # in front of the camera, but far to the right of its picture
    drawn = draw_boxes_3d(image, beside[None], CAM2IMG, [RED], ['car 0.90'])
    np.testing.assert_array_equal(drawn, image)
    seen = draw_boxes_3d(image, corners_of(0, 0, 10)[None], CAM2IMG, [RED], ['car 0.90'])
    bare = draw_boxes_3d(image, corners_of(0, 0, 10)[None], CAM2IMG, [RED])
    assert (seen != bare).any()
