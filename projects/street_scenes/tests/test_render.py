"""Scenes and renderings: what is seen, and where it is in 3D."""

from __future__ import annotations

import numpy as np
import pytest

from projects.street_scenes.classes import SEMANTIC_CLASSES, THING_CLASSES
from projects.street_scenes.render import SKY, render
from projects.street_scenes.scene import Box3D, sample_scene
from projects.street_scenes.solids import hit_depth, yaw_rotation


@pytest.fixture(scope='module', params=[0, 1, 2])
def drawn(request):
    scene = sample_scene(np.random.default_rng(request.param), 160, 96)
    return scene, render(scene)


def test_equal_seeds_give_equal_pictures(drawn):
    _, first = drawn
    scene = sample_scene(np.random.default_rng(0), 160, 96)
    second, third = render(scene), render(sample_scene(np.random.default_rng(0), 160, 96))
    np.testing.assert_array_equal(second.image, third.image)
    np.testing.assert_array_equal(second.object_ids, third.object_ids)
    other = render(sample_scene(np.random.default_rng(99), 160, 96))
    assert (second.image != other.image).any()


def test_every_pixel_shows_the_nearest_object(drawn):
    scene, rendering = drawn
    rays, origin = scene.camera.rays(), np.array(scene.camera.position)
    # Rays against every solid, with no rectangles to look in.
    chosen = np.random.default_rng(3).choice(len(rays), 500, replace=False)
    depth = np.stack(
        [
            np.min([hit_depth(solid, origin, rays[chosen]) for solid in thing.solids], axis=0)
            for thing in scene.objects
        ]
    )
    nearest = np.where(np.isfinite(depth.min(0)), depth.argmin(0), SKY)
    agree = nearest == rendering.object_ids.ravel()[chosen]
    # Two surfaces may meet within the last bit of a float.
    assert agree.mean() > 0.995
    np.testing.assert_allclose(rendering.depth.ravel()[chosen], depth.min(0), rtol=1e-4)


def test_outline_areas_bound_the_visible_ones(drawn):
    scene, rendering = drawn
    visible = np.bincount(rendering.object_ids.ravel() + 1, minlength=len(scene.objects) + 1)[1:]
    assert (visible <= rendering.outline_areas).all()
    assert (visible < rendering.outline_areas).any()


def test_visible_points_lie_in_the_3d_boxes(drawn):
    scene, rendering = drawn
    points = scene.camera.rays() * np.minimum(rendering.depth, 1e4).reshape(-1, 1)
    points = points + scene.camera.position
    seen = 0
    for number, thing in enumerate(scene.objects):
        mine = points[rendering.object_ids.ravel() == number]
        offset = (mine - thing.box.center) @ yaw_rotation(thing.box.yaw)
        assert (np.abs(offset) <= np.array(thing.box.size) / 2 + 0.02).all()
        seen += len(mine) > 0 and thing.category in THING_CLASSES
    assert seen > 3


def test_projected_boxes_hold_the_masks(drawn):
    scene, rendering = drawn
    things = [
        (number, thing)
        for number, thing in enumerate(scene.objects)
        if thing.category in THING_CLASSES
    ]
    checked = 0
    for number, thing in things:
        rows, cols = np.nonzero(rendering.object_ids == number)
        pixels, depth = scene.camera.project(thing.box.corners())
        if not len(rows) or (depth < 0.1).any():
            continue
        assert pixels[:, 0].min() - 1 <= cols.min() <= cols.max() <= pixels[:, 0].max() + 1
        assert pixels[:, 1].min() - 1 <= rows.min() <= rows.max() <= pixels[:, 1].max() + 1
        checked += 1
    assert checked > 3


def test_camera_boxes_follow_kitti(drawn):
    scene, _ = drawn
    camera = scene.camera
    thing = next(thing for thing in scene.objects if thing.category == 'car')
    x, y, z = thing.box.in_camera(camera).center
    np.testing.assert_allclose(camera.to_camera(np.array(thing.box.center)), (x, y, z))
    # Heading straight away from a level camera is a quarter turn from its x axis.
    level = type(camera)(64, 64, 60.0)
    assert Box3D((9, 0, 1), (4, 2, 1), 0.0).in_camera(level).yaw == pytest.approx(-np.pi / 2)
    # Turning left (to -x of the camera) goes on in the same sense: y points down.
    assert Box3D((9, 0, 1), (4, 2, 1), np.pi / 4).in_camera(level).yaw == pytest.approx(
        -3 * np.pi / 4
    )


def test_objects_are_of_known_classes_and_stand_apart(drawn):
    scene, _ = drawn
    assert {thing.category for thing in scene.objects} <= set(SEMANTIC_CLASSES)
    people = [np.array(t.box.center[:2]) for t in scene.objects if t.category == 'person']
    for number, one in enumerate(people):
        for other in people[:number]:
            assert np.linalg.norm(one - other) > 0.3
