"""Builds the objects of a street from solids.

Every builder samples an object's appearance and returns its solids in the object's own frame:
x forward, y left, z up, the origin on the ground below its center.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from projects.street_scenes import materials
from projects.street_scenes.solids import (
    Solid,
    box,
    cylinder,
    ellipsoid,
    limb,
    pitch_rotation,
    prism,
    yaw_rotation,
)

Color = tuple[float, float, float]

CAR_PAINTS: tuple[Color, ...] = (
    (0.78, 0.10, 0.09), (0.12, 0.24, 0.60), (0.90, 0.90, 0.91), (0.13, 0.13, 0.14),
    (0.62, 0.64, 0.67), (0.88, 0.66, 0.10), (0.10, 0.40, 0.30), (0.30, 0.60, 0.78),
    (0.83, 0.36, 0.10), (0.40, 0.08, 0.16),
)  # fmt: skip
CLOTHES: tuple[Color, ...] = (
    (0.85, 0.16, 0.22), (0.95, 0.55, 0.12), (0.20, 0.35, 0.80), (0.93, 0.88, 0.30),
    (0.90, 0.90, 0.88), (0.15, 0.55, 0.45), (0.55, 0.22, 0.60), (0.95, 0.45, 0.60),
    (0.20, 0.20, 0.24),
)  # fmt: skip
TROUSERS: tuple[Color, ...] = (
    (0.14, 0.18, 0.34), (0.10, 0.10, 0.12), (0.36, 0.30, 0.24), (0.30, 0.33, 0.38),
)  # fmt: skip
SKINS: tuple[Color, ...] = (
    (0.96, 0.78, 0.66), (0.87, 0.66, 0.50), (0.66, 0.45, 0.32), (0.42, 0.28, 0.20),
)  # fmt: skip
HAIRS: tuple[Color, ...] = (
    (0.10, 0.08, 0.07), (0.32, 0.20, 0.12), (0.72, 0.56, 0.30), (0.60, 0.60, 0.60),
)  # fmt: skip
WALLS: tuple[Color, ...] = (
    (0.66, 0.34, 0.26), (0.80, 0.70, 0.54), (0.72, 0.72, 0.70), (0.84, 0.78, 0.62),
    (0.52, 0.36, 0.30), (0.62, 0.66, 0.70), (0.78, 0.56, 0.42), (0.58, 0.62, 0.54),
)  # fmt: skip
SHOPS: tuple[Color, ...] = (
    (0.60, 0.12, 0.14), (0.12, 0.30, 0.42), (0.16, 0.38, 0.24), (0.75, 0.55, 0.18),
    (0.25, 0.25, 0.28),
)  # fmt: skip
LEAVES: tuple[Color, ...] = (
    (0.24, 0.42, 0.13), (0.30, 0.47, 0.16), (0.18, 0.36, 0.15), (0.42, 0.46, 0.15),
    (0.58, 0.40, 0.13),
)  # fmt: skip


def _pick(rng: np.random.Generator, colors: tuple[Color, ...], spread: float = 0.04) -> Color:
    color = np.asarray(colors[rng.integers(len(colors))]) + rng.uniform(-spread, spread, 3)
    red, green, blue = np.clip(color, 0.02, 0.98).tolist()
    return red, green, blue


def car(rng: np.random.Generator) -> list[Solid]:
    """A saloon, a hatchback, an off-roader or a van, heading along x."""
    kind = rng.choice(['saloon', 'hatchback', 'offroader', 'van'], p=[0.35, 0.3, 0.2, 0.15])
    length, width, height, waist = {
        'saloon': (4.5, 1.8, 1.45, 0.92),
        'hatchback': (3.9, 1.72, 1.5, 0.94),
        'offroader': (4.5, 1.9, 1.75, 1.08),
        'van': (5.0, 1.98, 2.3, 1.15),
    }[kind]
    length, height = length * rng.uniform(0.95, 1.05), height * rng.uniform(0.97, 1.03)
    paint = _pick(rng, CAR_PAINTS, 0.03)
    nose, tail = length / 2, -length / 2
    if kind == 'saloon':
        glass = [(0.26, 0.06), (-0.22, -0.44)]
    elif kind == 'van':
        glass = [(0.40, 0.28), (-0.47, -0.49)]
    else:
        glass = [(0.27, 0.10), (-0.40, -0.47)]
    (screen_foot, screen_top), (rear_top, rear_foot) = glass

    radius = 0.36 if kind in ('offroader', 'van') else 0.32
    axles = (0.31 * length, -0.31 * length)
    sill = 0.24 if kind != 'offroader' else 0.32
    body_profile = [
        (tail + 0.06, sill), (nose - 0.1, sill), (nose, 0.5 * waist), (nose - 0.12, 0.78 * waist),
        (screen_foot * length, waist), (tail + 0.08, waist), (tail, 0.6 * waist),
    ]  # fmt: skip
    body_height = waist - sill
    wheels = [(x, radius - (waist + sill) / 2, radius) for x in axles]
    body = prism(
        body_profile, width, materials.car_body(paint, (length, width, body_height), wheels)
    )
    cabin_profile = [
        (rear_foot * length, waist - 0.02), (screen_foot * length, waist - 0.02),
        (screen_top * length, height), (rear_top * length, height),
    ]  # fmt: skip
    lean = 0.08 if kind == 'van' else 0.26
    cabin_size = ((screen_foot - rear_foot) * length, 0.94 * width, height - waist)
    cabin = prism(
        cabin_profile,
        0.94 * width,
        materials.car_cabin(paint, cabin_size, lean, solid_rear=kind == 'van'),
        lean,
    )
    tire = materials.wheel(radius)
    side = width / 2 - 0.1
    tires = [cylinder(radius, 0.24, 1, (x, y, radius), tire) for x in axles for y in (side, -side)]
    return [body, cabin, *tires]


def person(rng: np.random.Generator) -> list[Solid]:
    """A person walking or standing, facing along x."""
    tall = rng.uniform(1.55, 1.9)
    unit = tall / 1.75
    skin = materials.plain(_pick(rng, SKINS, 0.02), 0.05)
    trousers = materials.cloth(_pick(rng, TROUSERS))
    stripes = 0.16 if rng.random() < 0.2 else 0.0
    shirt = materials.cloth(_pick(rng, CLOTHES), stripes)
    sleeves = shirt if rng.random() < 0.7 else skin
    hair = materials.plain(_pick(rng, HAIRS, 0.02), 0.2)
    shoes = materials.plain((0.12, 0.1, 0.1))
    stride = rng.uniform(0.05, 0.34) * rng.choice([-1, 1])
    hip, shoulder = 0.88, 1.42

    solids = []
    for side, swing in ((0.095, stride), (-0.095, -stride)):
        ankle = np.array([swing, side, 0.09])
        solids.append(limb(np.array([0.0, side, hip]), ankle, 0.085, trousers))
        solids.append(ellipsoid((0.15, 0.06, 0.06), (swing + 0.05, side, 0.06), shoes))
        hand = np.array([-0.8 * swing + 0.04, 2.9 * side, 0.84])
        solids.append(limb(np.array([0.0, 2.25 * side, shoulder - 0.06]), hand, 0.055, sleeves))
        solids.append(ellipsoid((0.06, 0.05, 0.08), hand - np.array([0, 0, 0.05]), skin))
    solids.append(ellipsoid((0.15, 0.23, 0.36), (0, 0, 1.16), shirt))
    solids.append(ellipsoid((0.14, 0.19, 0.17), (0, 0, hip), trousers))
    solids.append(ellipsoid((0.11, 0.10, 0.14), (0.01, 0, 1.6), skin))
    solids.append(ellipsoid((0.12, 0.11, 0.11), (-0.025, 0, 1.655), hair))
    if rng.random() < 0.3:
        bag = materials.cloth(_pick(rng, CLOTHES))
        solids.append(box((0.2, 0.3, 0.42), (-0.2, 0, 1.2), bag))
    return [_scaled(solid, unit) for solid in solids]


def _scaled(solid: Solid, factor: float) -> Solid:
    planes = solid.planes * [1, 1, 1, factor]
    radii = None if solid.radii is None else solid.radii * factor
    return Solid(
        planes, radii, solid.half_size * factor, solid.center * factor, solid.rotation,
        solid.material,
    )  # fmt: skip


SIGN_KINDS = ('limit', 'stop', 'warning', 'crossing', 'oneway', 'yield')
_OCTAGON = [(math.cos(a), math.sin(a)) for a in np.pi / 8 + np.arange(8) * np.pi / 4]
_TRIANGLE = [(-1.0, -0.8), (1.0, -0.8), (0.0, 0.95)]
_OUTLINES: dict[str, list[tuple[float, float]]] = {
    'stop': _OCTAGON,
    'warning': _TRIANGLE,
    'yield': [(-1.0, 0.8), (0.0, -0.95), (1.0, 0.8)],
    'crossing': [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
}


def sign(rng: np.random.Generator, foot: float) -> list[Solid]:
    """The plate of a traffic sign that faces along x; its post is `sign_post`.

    Args:
        rng: Random state.
        foot: Height of the plate's middle above the ground in meters.
    """
    kind = str(rng.choice(SIGN_KINDS))
    radius = float(rng.uniform(0.42, 0.55))
    face = materials.sign_face(_sign_drawing(kind, rng), 2 * radius)
    if kind in _OUTLINES:
        outline = [(x * radius, z * radius) for x, z in _OUTLINES[kind]]
        plate = _plate(outline, 0.06, face)
    else:
        plate = cylinder(radius, 0.06, 1, (0, 0, 0), face)
    # The drawing is on the +y side: turn it to face along x.
    return [plate.moved(np.array([0.0, 0.0, foot]), yaw_rotation(-math.pi / 2))]


def sign_post(height: float) -> list[Solid]:
    """The post behind a sign's plate, up to a height in meters."""
    metal = materials.plain((0.52, 0.54, 0.55), 0.05)
    return [cylinder(0.05, height, 2, (-0.09, 0, height / 2), metal)]


def _plate(outline: list[tuple[float, float]], thickness: float, face: materials.Material) -> Solid:
    """A prism whose frame's origin is that of the outline, as its drawing needs."""
    plate = prism(outline, thickness, face)
    shift = plate.center
    planes = plate.planes.copy()
    planes[:, 3] += planes[:, :3] @ shift
    half_size = np.abs(shift) + plate.half_size
    return Solid(planes, None, half_size, np.zeros(3), plate.rotation, face)


def _sign_drawing(kind: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(96, 96, 3) RGB drawing that fills the square around the plate."""
    red, white, black = (200, 22, 30), (245, 245, 240), (20, 20, 24)
    blue, yellow = (20, 70, 175), (250, 205, 30)
    image = np.zeros((96, 96, 3), np.uint8)
    image[:] = {'stop': red, 'warning': red, 'yield': red, 'limit': red}.get(kind, blue)

    def pixels(points: list[tuple[float, float]], factor: float = 1.0) -> NDArray[np.int32]:
        return np.array([(48 + 48 * factor * x, 48 - 48 * factor * z) for x, z in points], np.int32)

    if kind == 'stop':
        cv2.polylines(image, [pixels(_OCTAGON, 0.9)], True, white, 4)
        cv2.putText(image, 'STOP', (9, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.0, white, 6)
    elif kind == 'limit':
        cv2.circle(image, (48, 48), 37, white, -1)
        number = str(rng.choice(['30', '50', '70', '80']))
        cv2.putText(image, number, (20, 61), cv2.FONT_HERSHEY_SIMPLEX, 1.25, black, 5)
    elif kind == 'warning':
        cv2.fillPoly(image, [pixels([(x, z - 0.12) for x, z in _TRIANGLE], 0.66)], yellow)
        cv2.line(image, (48, 44), (48, 64), black, 8)
        cv2.circle(image, (48, 75), 4, black, -1)
    elif kind == 'yield':
        inner = [(x, z + 0.12) for x, z in _OUTLINES['yield']]
        cv2.fillPoly(image, [pixels(inner, 0.6)], white)
    elif kind == 'crossing':
        cv2.fillPoly(image, [pixels([(-0.7, -0.62), (0.7, -0.62), (0.0, 0.7)])], white)
        cv2.circle(image, (48, 42), 5, black, -1)
        cv2.line(image, (48, 46), (48, 60), black, 5)
        cv2.line(image, (48, 60), (40, 74), black, 4)
        cv2.line(image, (48, 60), (56, 74), black, 4)
    else:
        cv2.arrowedLine(image, (48, 80), (48, 18), white, 11, tipLength=0.45)
    return image


def building(rng: np.random.Generator, depth: float, frontage: float, height: float) -> list[Solid]:
    """A house whose front looks along x.

    Args:
        rng: Random state.
        depth: Extent along x in meters.
        frontage: Extent along y in meters.
        height: Height of the walls in meters.
    """
    wall = _pick(rng, WALLS)
    story = float(rng.uniform(2.9, 3.5))
    bay = frontage / max(2, round(frontage / rng.uniform(2.2, 3.2)))
    shop = _pick(rng, SHOPS) if rng.random() < 0.5 else None
    front = materials.facade(wall, height, bay, story, shop, int(rng.integers(1000)))
    solids = [box((depth, frontage, height), (0, 0, height / 2), front)]
    if rng.random() < 0.45:
        rise = float(rng.uniform(2.0, 3.5))
        roof = materials.tiles(_pick(rng, ((0.55, 0.24, 0.18), (0.33, 0.30, 0.32))))
        gable = [(-depth / 2 - 0.3, 0.0), (depth / 2 + 0.3, 0.0), (0.0, rise)]
        solids.append(
            prism(gable, frontage + 0.1, roof, lean=0.3).moved(np.array([0, 0, height]), np.eye(3))
        )
    else:
        cornice = materials.plain(tuple(0.8 * c for c in wall), 0.1)
        solids.append(box((depth + 0.5, frontage + 0.02, 0.45), (0, 0, height + 0.2), cornice))
    if shop is not None and rng.random() < 0.6:
        awning = materials.cloth(shop)
        solids.append(
            box((1.3, 0.6 * frontage, 0.08), (0, 0, 0), awning).moved(
                np.array([depth / 2 + 0.55, 0.0, 0.76 * story]), pitch_rotation(0.35)
            )
        )
    return solids


def tree(rng: np.random.Generator, distance: float) -> list[Solid]:
    """A trunk with a crown of leaves, which is simpler far away.

    Args:
        rng: Random state.
        distance: How far away it will stand in meters.
    """
    height = float(rng.uniform(4.5, 8.5))
    crown = float(rng.uniform(0.26, 0.36)) * height
    color = np.asarray(_pick(rng, LEAVES))
    bark = materials.plain((0.32, 0.25, 0.19), 0.4, 1.5)
    trunk = cylinder(0.022 * height + 0.04, 0.6 * height, 2, (0, 0, 0.3 * height), bark)
    solids = [trunk]
    for _ in range(6 if distance < 50 else 2):
        offset = rng.normal(0, 0.42, 3) * crown * [1, 1, 0.7]
        radii = crown * rng.uniform(0.5, 0.8) * np.array([1, 1, 0.85])
        leaves = materials.foliage(color * rng.uniform(0.85, 1.15))
        solids.append(ellipsoid(radii, offset + np.array([0, 0, 0.68 * height]), leaves))
    return solids


def bush(rng: np.random.Generator, distance: float) -> list[Solid]:
    """A low heap of leaves; arguments as for `tree`."""
    color = np.asarray(_pick(rng, LEAVES[:4]))
    solids = []
    for _ in range(3 if distance < 50 else 1):
        radius = rng.uniform(0.45, 0.8)
        center = [*rng.normal(0, 0.5, 2), 0.55 * radius]
        solids.append(ellipsoid((radius, radius, 0.8 * radius), center, materials.foliage(color)))
    return solids


def lamp(rng: np.random.Generator) -> list[Solid]:
    """A street lamp whose arm reaches along x."""
    height = float(rng.uniform(5.5, 7.0))
    metal = materials.plain((0.30, 0.33, 0.34), 0.05)
    post = cylinder(0.075, height, 2, (0, 0, height / 2), metal)
    arm = box((1.6, 0.09, 0.09), (0.75, 0, height), metal)
    return [post, arm, box((0.6, 0.25, 0.12), (1.5, 0, height - 0.08), metal)]
