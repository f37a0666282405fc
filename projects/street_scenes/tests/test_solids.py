"""Ray casting against what geometry says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from projects.street_scenes.materials import plain
from projects.street_scenes.solids import (
    box,
    cylinder,
    ellipsoid,
    hit_depth,
    hit_surface,
    limb,
    prism,
    yaw_rotation,
)

GRAY = plain((0.5, 0.5, 0.5))
SOLIDS = {
    'box': box((2, 4, 1), (6, 1, 0.5), GRAY),
    'ellipsoid': ellipsoid((1, 2, 0.5), (6, 0, 0), GRAY),
    'cylinder': cylinder(0.8, 2, 1, (7, 0, 0.3), GRAY),
    'limb': limb(np.array([5.0, -1, -1]), np.array([6.0, 1, 1]), 0.4, GRAY),
    'prism': prism([(4, -1), (8, -1), (7, 1), (5, 0.5)], 2, GRAY, lean=0.2),
    'turned': box((2, 4, 1), (0, 0, 0), GRAY).moved(np.array([7.0, 1, 0]), yaw_rotation(0.7)),
}


def inside(solid, points):
    """Whether points are in a solid, by its definition."""
    own = (points - solid.center) @ solid.rotation
    within = (own @ solid.planes[:, :3].T <= solid.planes[:, 3]).all(1)
    if solid.radii is not None:
        within &= ((own / solid.radii) ** 2).sum(1) <= 1
    return within


@pytest.mark.parametrize('name', SOLIDS)
def test_hits_agree_with_marching_along_the_ray(name):
    solid = SOLIDS[name]
    rng = np.random.default_rng(1)
    rays = np.stack([np.ones(400), *rng.uniform(-0.4, 0.4, (2, 400))], 1).astype(np.float32)
    found = hit_depth(solid, np.zeros(3), rays)
    steps = np.arange(0.01, 12, 0.01)
    marched = np.full(len(rays), np.inf)
    for number, ray in enumerate(rays):
        hit = inside(solid, ray * steps[:, None])
        if hit.any():
            marched[number] = steps[hit.argmax()]
    both = np.isfinite(marched) & np.isfinite(found)
    # Marching misses what is thinner than a step.
    assert (np.isfinite(marched) <= np.isfinite(found)).all()
    assert np.count_nonzero(np.isfinite(marched) != np.isfinite(found)) < 6
    assert both.sum() > 20
    np.testing.assert_allclose(found[both], marched[both], atol=0.011)


@pytest.mark.parametrize('name', SOLIDS)
def test_surfaces_face_the_ray_and_lie_within_the_bounding_box(name):
    solid = SOLIDS[name]
    rng = np.random.default_rng(2)
    rays = np.stack([np.ones(400), *rng.uniform(-0.4, 0.4, (2, 400))], 1).astype(np.float32)
    depth = hit_depth(solid, np.zeros(3), rays)
    rays, depth = rays[np.isfinite(depth)], depth[np.isfinite(depth)]
    point, normal = hit_surface(solid, np.zeros(3), rays, depth)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-4)
    assert (((normal @ solid.rotation.T) * rays).sum(1) < 1e-3).all()
    assert (np.abs(point) <= solid.half_size + 1e-4).all()
    np.testing.assert_allclose(
        point @ solid.rotation.T + solid.center, rays * depth[:, None], atol=1e-4
    )


def test_rays_from_many_origins():
    sphere = ellipsoid((1, 1, 1), (0, 0, 5), GRAY)
    origins = np.array([[0.0, 0, 0], [0, 0, 2], [3, 0, 0], [0, 0, 9]])
    up = np.tile(np.float32([0, 0, 1]), (4, 1))
    np.testing.assert_allclose(hit_depth(sphere, origins, up), [4, 2, np.inf, np.inf], rtol=1e-5)


def test_ray_from_the_inside_does_not_hit():
    assert math.isinf(
        hit_depth(box((2, 2, 2), (0, 0, 0), GRAY), np.zeros(3), np.float32([[1, 0, 0]]))[0]
    )
