"""The 3D layout of one street as plain data, sampled from a seed.

The vehicle that carries the camera drives in the right-hand lane and heads along x. The layout has
no pixels: images, labels, masks and boxes are all computed from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from projects.street_scenes import materials, objects
from projects.street_scenes.camera import Camera
from projects.street_scenes.solids import Solid, box, box_corners, yaw_rotation

Array = NDArray[Any]
Range = tuple[float, float]

LANE_WIDTH = 3.4
FAR_END = 140.0
"""Distance ahead at which the street ends, in meters."""


@dataclass(frozen=True)
class Box3D:
    """An upright box around an object.

    Attributes:
        center: (x, y, z) of its center in meters.
        size: Length, width and height in meters.
        yaw: Rotation in radians; to the left about z in the vehicle's frame, see `in_camera` for
            the camera's.
    """

    center: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float

    def moved(self, position: Array, yaw: float) -> Box3D:
        """Returns the box rotated to the left by `yaw` about the origin and then shifted."""
        x, y, z = (yaw_rotation(yaw) @ self.center + position).tolist()
        return Box3D((x, y, z), self.size, math.remainder(self.yaw + yaw, 2 * math.pi))

    def corners(self) -> Array:
        """(8, 3) corners of a box in the vehicle's frame."""
        corners = box_corners(np.array(self.size) / 2)
        return corners @ yaw_rotation(self.yaw).T + self.center

    def in_camera(self, camera: Camera) -> Box3D:
        """Returns the box in the frame of a camera that does not roll.

        The yaw then turns about the camera's y axis, which points down, and is 0 for an object
        heading along the camera's x axis, as in KITTI and in MMDetection3D's camera boxes. A
        camera's pitch is left out of it.
        """
        x, y, z = camera.to_camera(np.array(self.center)).tolist()
        yaw = -self.yaw + camera.yaw - math.pi / 2
        return Box3D((x, y, z), self.size, math.remainder(yaw, 2 * math.pi))


@dataclass(frozen=True, eq=False)
class SceneObject:
    """An object or a piece of ground of one class.

    Attributes:
        category: One of `projects.street_scenes.classes.SEMANTIC_CLASSES`.
        solids: Its solids in the vehicle's frame.
        box: Its box in the vehicle's frame.
    """

    category: str
    solids: tuple[Solid, ...]
    box: Box3D

    @classmethod
    def place(
        cls, category: str, solids: list[Solid], x: float, y: float, yaw: float = 0.0
    ) -> SceneObject:
        """Places an object that was built about its own origin on the ground."""
        corners = np.concatenate([solid.corners() for solid in solids])
        low, high = corners.min(0), corners.max(0)
        position, rotation = np.array([x, y, 0.0]), yaw_rotation(yaw)
        cx, cy, cz = (rotation @ ((low + high) / 2) + position).tolist()
        length, width, height = (high - low).tolist()
        return cls(
            category,
            tuple(solid.moved(position, rotation) for solid in solids),
            Box3D((cx, cy, cz), (length, width, height), yaw),
        )

    def moved(self, position: Array, yaw: float) -> SceneObject:
        """Returns the object rotated to the left by `yaw` about the origin and then shifted."""
        solids = tuple(solid.moved(position, yaw_rotation(yaw)) for solid in self.solids)
        return replace(self, solids=solids, box=self.box.moved(position, yaw))


@dataclass(frozen=True)
class Light:
    """Position of the sun, and haze.

    Attributes:
        azimuth: Where the sun is, in radians to the left of straight ahead.
        elevation: How high the sun is, in radians.
        sun: RGB strength of direct light.
        sky: RGB color overhead.
        horizon: RGB color of the sky at the horizon, and of the haze.
        clouds: Share of the sky under clouds, 0 to 1.
        haze: Distance in meters over which contrast falls to 37%.
        seed: Tells skies apart.
    """

    azimuth: float
    elevation: float
    sun: tuple[float, float, float]
    sky: tuple[float, float, float]
    horizon: tuple[float, float, float]
    clouds: float
    haze: float
    seed: int

    @property
    def direction(self) -> Array:
        """(3,) unit vector toward the sun, in the vehicle's frame."""
        flat = math.cos(self.elevation)
        return np.array(
            [
                flat * math.cos(self.azimuth),
                flat * math.sin(self.azimuth),
                math.sin(self.elevation),
            ]
        )


@dataclass(frozen=True, eq=False)
class Scene:
    """The objects of a street, its light and its camera."""

    camera: Camera
    light: Light
    objects: tuple[SceneObject, ...]


@dataclass(frozen=True)
class Street:
    """Measures of a street in meters; y points to the left.

    Attributes:
        middle: y of the middle line.
        half_width: Half of the carriageway, with parking lanes.
        sidewalk: Width of a sidewalk.
        verge: Width of the strip between a sidewalk and the houses.
        junction: x of the middle of a crossing street, or None.
        zebra: x where a pedestrian crossing begins, or None.
    """

    middle: float
    half_width: float
    sidewalk: float
    verge: float
    junction: float | None
    zebra: float | None

    def curb(self, side: int) -> float:
        """Position of the curb along y; `side` is 1 on the left and -1 on the right."""
        return self.middle + side * self.half_width

    def houses(self, side: int) -> float:
        """Position of the house fronts along y."""
        return self.curb(side) + side * (self.sidewalk + self.verge)

    def in_junction(self, x: float, margin: float) -> bool:
        """Whether x lies in the crossing street."""
        return self.junction is not None and abs(x - self.junction) < LANE_WIDTH + margin


class Room:
    """Keeps track of occupied ground, so that objects do not overlap."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, float, float]] = []

    def take(self, x: float, y: float, radius: float) -> bool:
        """Occupies a disc and returns True, or returns False if a part of it is occupied."""
        if any(math.hypot(x - a, y - b) < radius + r for a, b, r in self._taken):
            return False
        self._taken.append((x, y, radius))
        return True


def sample_scene(rng: np.random.Generator, width: int, height: int) -> Scene:
    """Samples a street.

    Args:
        rng: Random state; equal states give equal scenes.
        width: Image width in pixels.
        height: Image height in pixels.
    """
    camera = Camera(
        width,
        height,
        focal=width * rng.uniform(0.76, 0.88),
        position=(0.0, 0.0, rng.uniform(1.45, 1.75)),
        yaw=rng.uniform(-0.07, 0.07),
        pitch=rng.uniform(-0.02, 0.05),
    )
    street = sample_street(rng)
    parts = street_parts(rng, street)
    return Scene(camera, sample_light(rng), tuple(parts))


def sample_street(rng: np.random.Generator) -> Street:
    """Samples the measures of a street."""
    junction = rng.uniform(20, 38) if rng.random() < 0.35 else None
    zebra = None
    if junction is not None:
        zebra = junction - LANE_WIDTH - 6.5
    elif rng.random() < 0.35:
        zebra = rng.uniform(9, 20)
    return Street(
        middle=LANE_WIDTH / 2 + rng.uniform(-0.3, 0.3),
        half_width=LANE_WIDTH + rng.choice([0.5, 2.4], p=[0.35, 0.65]),
        sidewalk=rng.uniform(2.4, 3.6),
        verge=rng.choice([0.0, rng.uniform(1.5, 4.5)]),
        junction=junction,
        zebra=zebra,
    )


def street_parts(
    rng: np.random.Generator, street: Street, start: float = -20.0
) -> list[SceneObject]:
    """Samples the ground of a street and the objects ahead on it.

    Args:
        rng: Random state.
        street: Its measures.
        start: Where carriageway and sidewalks begin along x, in meters.
    """
    room = Room()
    return [
        *_ground(rng, street, start),
        *_traffic(rng, street, room),
        *_signs(rng, street, room),
        *_pedestrians(rng, street, room),
        *_greenery(rng, street, room),
        *_houses(rng, street),
    ]


def sample_light(rng: np.random.Generator) -> Light:
    """Samples the position of the sun, and haze."""
    elevation = math.radians(rng.uniform(24, 62))
    # Never straight ahead: everything would be seen from its shaded side.
    azimuth = math.pi + rng.uniform(-2.3, 2.3)
    kind = rng.choice(['clear', 'fair', 'evening', 'overcast'], p=[0.35, 0.3, 0.15, 0.2])
    strength = {'clear': 1.0, 'fair': 0.9, 'evening': 0.9, 'overcast': 0.3}[kind]
    tint = (1.0, 0.76, 0.52) if kind == 'evening' else (1.0, 0.95, 0.86)
    sky, horizon = {
        'clear': ((0.20, 0.44, 0.82), (0.72, 0.83, 0.93)),
        'fair': ((0.27, 0.50, 0.82), (0.78, 0.85, 0.91)),
        'evening': ((0.34, 0.44, 0.68), (0.95, 0.80, 0.62)),
        'overcast': ((0.66, 0.70, 0.75), (0.82, 0.84, 0.86)),
    }[kind]
    clouds = {'clear': 0.15, 'fair': 0.55, 'evening': 0.35, 'overcast': 0.9}[kind]
    red, green, blue = (1.15 * strength * part for part in tint)
    return Light(
        azimuth,
        elevation,
        (red, green, blue),
        sky,
        horizon,
        clouds * rng.uniform(0.7, 1.1),
        haze=rng.uniform(120, 420),
        seed=int(rng.integers(10_000)),
    )


def _ground(rng: np.random.Generator, street: Street, start: float) -> Iterator[SceneObject]:
    shade = rng.uniform(0.30, 0.42)
    slabs = materials.paving(tuple(rng.uniform(0.55, 0.68) * np.array([1.0, 0.98, 0.94])))
    lawn = materials.grass((0.36, 0.50, 0.20))
    yield SceneObject.place('terrain', [box((6000, 6000, 1), (0, 0, -0.53), lawn)], 0, 0)

    half_cross = LANE_WIDTH + 0.4
    stretches: list[Range] = [(start, FAR_END)]
    if street.junction is not None:
        stretches = [(start, street.junction - half_cross), (street.junction + half_cross, FAR_END)]
        crossing = materials.asphalt(shade, half_cross, axis=1)
        plate = box((2 * half_cross, 400, 1), (0, 0, -0.5), crossing)
        yield SceneObject.place('road', [plate], street.junction, street.middle)
    for number, (first, last) in enumerate(stretches):
        middle = (first + last) / 2
        zebra = street.zebra - middle if street.zebra is not None and number == 0 else None
        surface = materials.asphalt(shade, street.half_width, crossing=zebra)
        plate = box((last - first, 2 * street.half_width, 1), (0, 0, -0.5), surface)
        yield SceneObject.place('road', [plate], middle, street.middle)
        for side in (1, -1):
            slab = box((last - first, street.sidewalk, 0.6), (0, 0, -0.16), slabs)
            y = street.curb(side) + side * street.sidewalk / 2
            yield SceneObject.place('sidewalk', [slab], middle, y)


def _traffic(rng: np.random.Generator, street: Street, room: Room) -> Iterator[SceneObject]:
    def lane(y: float, yaw: float, first: float, last: float, share: float) -> Iterator:
        x = first + rng.uniform(0, 6)
        while x < last:
            if rng.random() < share and not street.in_junction(x, 3.5) and not _on_zebra(x):
                turn = yaw + rng.normal(0, 0.02)
                room.take(x, y, 2.3)
                yield SceneObject.place('car', objects.car(rng), x, y + rng.normal(0, 0.12), turn)
            x += rng.uniform(6.2, 10) + x * 0.15

    def _on_zebra(x: float) -> bool:
        return street.zebra is not None and street.zebra - 3 < x < street.zebra + 6

    density = rng.uniform(0.25, 0.75)
    yield from lane(street.middle - LANE_WIDTH / 2, 0, 9, 70, density)
    yield from lane(street.middle + LANE_WIDTH / 2, math.pi, 7, 80, density)
    if street.half_width > LANE_WIDTH + 2:
        for side, yaw in ((-1, 0.0), (1, math.pi)):
            y = street.curb(side) - side * 1.15
            yield from lane(y, yaw, 8, 60, rng.uniform(0.3, 0.7))
    if street.junction is not None:
        for x, yaw in ((-LANE_WIDTH / 2, -math.pi / 2), (LANE_WIDTH / 2, math.pi / 2)):
            y = street.middle + rng.uniform(-14, 14)
            if rng.random() < 0.75 and room.take(street.junction + x, y, 1.2):
                yield SceneObject.place('car', objects.car(rng), street.junction + x, y, yaw)


def _signs(rng: np.random.Generator, street: Street, room: Room) -> Iterator[SceneObject]:
    for _ in range(rng.integers(3, 6)):
        side = int(rng.choice([-1, 1], p=[0.65, 0.35]))
        x = float(np.exp(rng.uniform(math.log(7), math.log(32))))
        y = street.curb(side) + side * rng.uniform(0.4, 0.8)
        if street.in_junction(x, 1.0) or not room.take(x, y, 0.5):
            continue
        height = rng.uniform(1.9, 2.5)
        yaw = math.pi + rng.normal(0, 0.12)
        yield SceneObject.place('sign', objects.sign(rng, height), x, y, yaw)
        yield SceneObject.place('pole', objects.sign_post(height + 0.35), x, y, yaw)
    for side in (-1, 1):
        for x in np.arange(rng.uniform(8, 20), FAR_END, rng.uniform(22, 30)):
            y = street.curb(side) + side * 0.4
            if not street.in_junction(x, 1.0) and room.take(x, y, 0.4):
                yield SceneObject.place('pole', objects.lamp(rng), x, y, -side * math.pi / 2)


def _pedestrians(rng: np.random.Generator, street: Street, room: Room) -> Iterator[SceneObject]:
    def stand(x: float, y: float, yaw: float) -> Iterator[SceneObject]:
        if room.take(x, y, 0.33):
            yield SceneObject.place('person', objects.person(rng), x, y, yaw)

    for _ in range(rng.integers(4, 10)):
        side = int(rng.choice([-1, 1]))
        x = float(np.exp(rng.uniform(math.log(6), math.log(36))))
        if street.in_junction(x, 0.5):
            continue
        y = street.curb(side) + side * rng.uniform(0.7, street.sidewalk - 0.3)
        yaw = rng.choice([0, math.pi]) + rng.normal(0, 0.3)
        yield from stand(x, y, yaw)
        if rng.random() < 0.3:
            yield from stand(x + rng.normal(0, 0.15), y + 0.7, yaw)
    if street.zebra is not None:
        for _ in range(rng.integers(0, 4)):
            y = street.middle + rng.uniform(-1, 1) * street.half_width
            x = street.zebra + rng.uniform(0.4, 2.8)
            yield from stand(x, y, rng.choice([-1, 1]) * math.pi / 2)


def _greenery(rng: np.random.Generator, street: Street, room: Room) -> Iterator[SceneObject]:
    def plant(
        build: Callable[[np.random.Generator, float], list[Solid]],
        x: float,
        y: float,
        radius: float,
    ) -> Iterator[SceneObject]:
        if not street.in_junction(x, 1.5) and room.take(x, y, radius):
            yield SceneObject.place('vegetation', build(rng, x), x, y, rng.uniform(0, 6))

    for side in (1, -1):
        if rng.random() < 0.65:
            start, step = rng.uniform(9, 16), rng.uniform(8, 15)
            y = street.curb(side) + side * 0.8
            if street.verge > 0:
                y = street.houses(side) - side * street.verge * 0.6
            for x in np.arange(start, 110, step):
                yield from plant(objects.tree, x + rng.normal(0, 0.5), y, 0.6)
        if street.verge > 0:
            for x in rng.uniform(5, 50, 7):
                y = street.houses(side) - side * rng.uniform(0.4, 1) * street.verge * 0.7
                yield from plant(objects.bush, x, y, 0.8)


def _houses(rng: np.random.Generator, street: Street) -> Iterator[SceneObject]:
    detached = rng.random() < 0.35
    for side in (1, -1):
        x = -12.0 + rng.uniform(0, 5)
        while x < FAR_END - 15:
            frontage, depth = rng.uniform(8, 15), rng.uniform(8, 12)
            height = rng.uniform(4.5, 8) if detached else rng.uniform(6.5, 15)
            middle = x + frontage / 2
            if not street.in_junction(middle, frontage / 2 + 3):
                y = street.houses(side) + side * depth / 2
                solids = objects.building(rng, depth, frontage, height)
                yield SceneObject.place('building', solids, middle, y, -side * math.pi / 2)
            elif rng.random() < 0.5:
                y = street.houses(side) + side * rng.uniform(2, 6)
                near = middle - 4 if middle < (street.junction or 0) else middle + 4
                if not street.in_junction(near, 2.5):
                    yield SceneObject.place('vegetation', objects.tree(rng, near), near, y)
            gap = rng.uniform(3, 8) if detached else rng.choice([0.0, rng.uniform(1, 4)])
            x += frontage + gap
            if detached and rng.random() < 0.7:
                y = street.houses(side) + side * rng.uniform(1, 5)
                if not street.in_junction(x - gap / 2, 3):
                    solids = objects.tree(rng, x)
                    yield SceneObject.place('vegetation', solids, x - gap / 2, y)
    # The street ends at a row of houses and trees across it.
    for y in np.arange(-60, 61, 14.0):
        frontage = 14 * rng.uniform(0.8, 1.0)
        solids = objects.building(rng, 10, frontage, rng.uniform(7, 18))
        yield SceneObject.place('building', solids, FAR_END + 8, y, math.pi)
        solids = objects.tree(rng, FAR_END)
        yield SceneObject.place('vegetation', solids, FAR_END - 4, y + rng.uniform(-6, 6))
