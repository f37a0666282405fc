"""A street all around the vehicle, and the six cameras on it.

The half behind the vehicle is sampled like the half ahead, with the same measures, and then rotated
by half a turn about the center of the road, so that everybody keeps to the right. A few objects
stand between the halves, beside the vehicle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from projects.street_scenes import objects
from projects.street_scenes.camera import Camera
from projects.street_scenes.scene import (
    LANE_WIDTH,
    Light,
    Room,
    SceneObject,
    Street,
    sample_light,
    sample_street,
    street_parts,
)

_SEAM = -0.02  # the halves' grounds meet below the vehicle and leave no gap

_MOUNTS: dict[str, tuple[tuple[float, float, float], float, float]] = {
    'CAM_FRONT_LEFT': ((1.52, 0.49, 1.51), 55.0, 70.0),
    'CAM_FRONT': ((1.70, 0.02, 1.51), 0.0, 70.0),
    'CAM_FRONT_RIGHT': ((1.55, -0.49, 1.50), -55.0, 70.0),
    'CAM_BACK_LEFT': ((1.04, 0.48, 1.59), 110.0, 70.0),
    'CAM_BACK': ((0.03, 0.00, 1.58), 180.0, 110.0),
    'CAM_BACK_RIGHT': ((1.01, -0.48, 1.56), -110.0, 70.0),
}
"""Position in meters from the rear axle, yaw to the left and field of view in degrees."""

CAMERA_NAMES = tuple(_MOUNTS)
"""nuScenes' names of the cameras, in BEVDet's order."""


def surround_cameras(width: int, height: int) -> dict[str, Camera]:
    """Makes six level cameras, placed and oriented approximately like those of nuScenes.

    Args:
        width: Width of each image in pixels.
        height: Height of each image in pixels.

    Returns:
        Cameras by nuScenes' names.
    """
    return {
        name: Camera(
            width,
            height,
            focal=width / 2 / math.tan(math.radians(view) / 2),
            position=position,
            yaw=math.radians(turn),
        )
        for name, (position, turn, view) in _MOUNTS.items()
    }


def sample_surroundings(rng: np.random.Generator) -> tuple[Light, tuple[SceneObject, ...]]:
    """Samples a street around a vehicle whose rear axle is at the origin.

    Args:
        rng: Random state; equal states give equal streets.

    Returns:
        The light, and the objects in the vehicle's frame.
    """
    ahead = sample_street(rng)
    other = sample_street(rng)
    behind = replace(ahead, junction=other.junction, zebra=other.zebra)
    turn, position = math.pi, np.array([0, 2 * ahead.middle, 0])
    halves = [_half(rng, ahead), [part.moved(position, turn) for part in _half(rng, behind)]]
    return sample_light(rng), (*halves[0], *halves[1], *_beside(rng, ahead))


def _half(rng: np.random.Generator, street: Street) -> list[SceneObject]:
    """Objects ahead; houses whose center is behind belong to the other half."""
    return [
        part
        for part in street_parts(rng, street, start=_SEAM)
        if part.category in ('road', 'sidewalk', 'terrain') or part.box.center[0] >= 0
    ]


def _beside(rng: np.random.Generator, street: Street) -> Iterator[SceneObject]:
    """Cars and people beside the vehicle, where neither half has any."""
    if rng.random() < 0.4:
        y = street.middle + LANE_WIDTH / 2
        yield SceneObject.place('car', objects.car(rng), rng.uniform(-1.5, 1.5), y, math.pi)
    if street.half_width > LANE_WIDTH + 2:
        for side, yaw in ((-1, 0.0), (1, math.pi)):
            if rng.random() < 0.5:
                x, y = rng.uniform(-2.5, 2.5), street.curb(side) - side * 1.15
                yield SceneObject.place('car', objects.car(rng), x, y, yaw + rng.normal(0, 0.02))
    room = Room()
    for _ in range(rng.integers(2, 6)):
        side = int(rng.choice([-1, 1]))
        x = rng.uniform(-5, 5)
        y = street.curb(side) + side * rng.uniform(0.7, street.sidewalk - 0.3)
        yaw = rng.choice([0, math.pi]) + rng.normal(0, 0.3)
        if room.take(x, y, 0.33):
            yield SceneObject.place('person', objects.person(rng), x, y, yaw)
