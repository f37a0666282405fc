"""Procedural textures: the color of a surface as a function of the point on it.

A material's `albedo` gets points in the frame of the solid that it covers. Patterns fade to their
mean where they are finer than a pixel, which avoids aliasing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Color = Sequence[float] | Array

_TEXELS = 512
_DARK_GLASS = (0.10, 0.13, 0.17)


@dataclass(frozen=True, eq=False)
class Surface:
    """Points to be colored.

    Attributes:
        point: (P, 3) in the solid's frame, in meters.
        normal: (P, 3) outward normals in the solid's frame.
        footprint: (P,) width of a pixel there, in meters.
    """

    point: Array
    normal: Array
    footprint: Array


@dataclass(frozen=True, eq=False)
class Material:
    """A surface.

    Attributes:
        albedo: Gives (P, 3) sRGB colors in [0, 1].
        gloss: Share of the sky's mirror image, 0 for dull surfaces.
        ragged: How far the outline is eaten away, 0 for smooth solids, about 1 for leaves.
    """

    albedo: Callable[[Surface], Array]
    gloss: float = 0.0
    ragged: float = 0.0


@functools.cache
def _noise_image() -> Array:
    """(512, 512) float32 fractal noise about 0, about -1 to 1, that repeats without a seam."""
    rng = np.random.default_rng(0)
    total = np.zeros((_TEXELS, _TEXELS), np.float32)
    for cells in (4, 8, 16, 32, 64, 128, 256):
        lattice = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
        margin = 2
        wrapped = np.pad(lattice, margin, mode='wrap')
        zoom = _TEXELS // cells
        large = cv2.resize(wrapped, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
        inside = slice(margin * zoom, margin * zoom + _TEXELS)
        total += large[inside, inside] * cells**-0.5
    return total / np.abs(total).max()


def noise(x: Array, y: Array, period: float) -> Array:
    """Fractal noise about 0, within [-1, 1], whose coarsest grain is a quarter of the period."""
    scale = _TEXELS / period
    rows = (y * scale).astype(np.int64) % _TEXELS
    cols = (x * scale).astype(np.int64) % _TEXELS
    return _noise_image()[rows, cols]


def cutout(material: Material, point: Array, normal: Array, way: Array) -> Array:
    """Whether a ragged surface lets a ray pass: mostly near its outline, in the rhythm of noise."""
    facing = -np.einsum('pi,pi->p', normal, way) / np.linalg.norm(way, axis=1)
    grain = noise(point[:, 0] + 0.7 * point[:, 2], point[:, 1] - 0.6 * point[:, 2], 3.0)
    return facing < material.ragged * (0.3 + 2.2 * grain)


def _mix(first: Array | Color, second: Array | Color, share: Array) -> Array:
    share = share[:, None]
    return np.asarray(first, np.float32) * (1 - share) + np.asarray(second, np.float32) * share


def _band(x: Array, low: float, high: float, footprint: Array) -> Array:
    """Share of a pixel between two limits."""
    soft = np.maximum(footprint, 1e-3)
    inside = np.minimum(x - low, high - x) / soft + 0.5
    return np.clip(inside, 0, 1) * np.minimum(1, (high - low) / soft)


def _stripes(x: Array, period: float, share: float, footprint: Array) -> Array:
    """Periodic bands that start at whole periods, fading to their mean where pixels are coarse."""
    within = np.mod(x, period)
    sharp = _band(within, 0, period * share, footprint)
    fade = np.clip(footprint / period * 2 - 0.4, 0, 1)
    return sharp * (1 - fade) + share * fade


def _grain(surface: Surface, amount: float, period: float) -> Array:
    """(P, 1) factor about 1 from noise on the surface."""
    x, y, z = surface.point.T
    fade = 1 / (1 + (surface.footprint * 24 / period) ** 2)
    return (1 + amount * fade * noise(x + 0.7 * z, y - 0.6 * z, period))[:, None]


def plain(color: Color, grain: float = 0.1, period: float = 3.0, gloss: float = 0.0) -> Material:
    """One color with some grain."""
    return Material(
        lambda surface: np.asarray(color, np.float32) * _grain(surface, grain, period), gloss
    )


def foliage(color: Color, ragged: float = 0.8) -> Material:
    """Leaves: dark gaps, light tips, a ragged outline."""

    def albedo(surface: Surface) -> Array:
        x, y, z = surface.point.T
        clumps = noise(x + 0.7 * z, y - 0.6 * z, 5.0)
        leaves = noise(y + 0.4 * z, x - 0.9 * z, 1.3)
        fade = 1 / (1 + (10 * surface.footprint) ** 2)
        light = 1 + 0.6 * clumps + 1.3 * leaves * fade
        return np.asarray(color, np.float32) * np.clip(light, 0.25, 2)[:, None]

    return Material(albedo, ragged=ragged)


def grass(color: Color) -> Material:
    """A lawn with dry patches."""

    def albedo(surface: Surface) -> Array:
        x, y, _ = surface.point.T
        patches = np.clip(0.4 + noise(x, y, 37.0), 0, 1)
        return _mix(color, (0.56, 0.52, 0.30), 0.5 * patches) * _grain(surface, 0.35, 3.0)

    return Material(albedo)


def asphalt(
    shade: float, half_width: float, axis: int = 0, crossing: float | None = None
) -> Material:
    """A street.

    Args:
        shade: Gray of the asphalt.
        half_width: Half of the street's width in meters.
        axis: 0 if the street runs along x, 1 if along y.
        crossing: Where along the street, in the solid's frame, a zebra crossing begins.
    """

    def albedo(surface: Surface) -> Array:
        along, across = surface.point[:, axis], surface.point[:, 1 - axis]
        footprint = surface.footprint
        wear = 1 + 0.16 * noise(along, 4 * across, 60.0) + 0.1 * noise(along, across, 9.0)
        gray = np.float32(shade) * wear
        color = np.stack([gray, gray, gray * 1.04], axis=1) * _grain(surface, 0.25, 2.0)
        edges = _band(np.abs(across), half_width - 0.45, half_width - 0.3, footprint)
        dashes = _band(across, -0.09, 0.09, footprint) * _stripes(along, 9.0, 0.5, footprint * 3)
        paint = np.maximum(edges, dashes)
        if crossing is not None:
            on_zebra = _band(along, crossing, crossing + 3.2, footprint * 3)
            before = _band(along, crossing - 1.6, crossing - 1.2, footprint * 3)
            zebra = _stripes(across + 0.25, 1.0, 0.5, footprint)
            paint = np.where(on_zebra > 0, on_zebra * zebra, np.maximum(paint, before))
        worn = np.clip(1.0 + 0.5 * noise(along, across, 5.0), 0.5, 1)
        return _mix(color, (0.93, 0.93, 0.9), 0.9 * paint * worn)

    return Material(albedo)


def paving(color: Color) -> Material:
    """Slabs with joints; the curb's side is lighter."""

    def albedo(surface: Surface) -> Array:
        x, y, _ = surface.point.T
        slab = noise(np.floor(x / 0.9) * 7.3, np.floor(y / 0.6) * 3.1, 40.0)
        tone = np.asarray(color, np.float32) * (1 + 0.12 * slab)[:, None]
        joints = np.maximum(
            _stripes(x, 0.9, 0.06, surface.footprint), _stripes(y, 0.6, 0.08, surface.footprint)
        )
        top = surface.normal[:, 2] > 0.5
        return np.where(
            top[:, None], tone * (1 - 0.35 * joints)[:, None], (0.66, 0.65, 0.62)
        ) * _grain(surface, 0.12, 3.0)

    return Material(albedo)


def facade(
    wall: Color,
    height: float,
    bay: float,
    floor: float,
    shop: Color | None,
    seed: int,
) -> Material:
    """A house front with a grid of windows.

    Args:
        wall: Color of the wall.
        height: Height of the solid in meters; its frame's origin is half-way up.
        bay: Distance of the windows in meters.
        floor: Height of a story in meters.
        shop: Color of a shop's front on the ground floor; None for windows there too.
        seed: Tells apart houses with equal numbers.
    """

    def albedo(surface: Surface) -> Array:
        x, y, z = surface.point.T
        along = np.where(np.abs(surface.normal[:, 0]) > 0.5, y, x) + 50 * bay
        up = z + height / 2
        footprint = surface.footprint
        column, story = np.floor(along / bay), np.floor(up / floor)
        in_bay, in_story = along - column * bay, up - story * floor
        window = _band(in_bay, 0.24 * bay, 0.76 * bay, footprint) * _band(
            in_story, 0.28 * floor, 0.8 * floor, footprint
        )
        frame = _band(in_bay, 0.2 * bay, 0.8 * bay, footprint) * _band(
            in_story, 0.22 * floor, 0.84 * floor, footprint
        )
        bar = _band(in_bay, 0.485 * bay, 0.515 * bay, footprint)
        lightness = noise(column * 5.3 + seed * 1.7, story * 9.1 + seed, 64.0)
        pane = _mix(_DARK_GLASS, (0.62, 0.68, 0.72), np.clip(0.35 + 0.9 * lightness, 0, 1))
        color = np.asarray(wall, np.float32) * _grain(surface, 0.16, 4.0)
        color = color * (1 - 0.22 * _stripes(up + 0.12, floor, 0.08, footprint))[:, None]
        roofline = up > height - 0.4
        frame, window = np.where(roofline, 0, frame), np.where(roofline, 0, window)
        light_wall = sum(wall) > 1.2
        color = _mix(color, (0.42, 0.40, 0.38) if light_wall else (0.85, 0.84, 0.8), 0.8 * frame)
        color = _mix(color, pane, window * (1 - 0.6 * bar))
        if shop is not None:
            ground = story == 0
            glass = _band(in_bay, 0.06 * bay, 0.94 * bay, footprint) * _band(
                up, 0.5, 0.68 * floor, footprint
            )
            fascia = _band(up, 0.74 * floor, 0.97 * floor, footprint)
            front = _mix(np.asarray(wall, np.float32) * 0.75, (0.2, 0.22, 0.25), glass)
            front = _mix(front, shop, fascia)
            color = np.where(ground[:, None], front, color)
        return np.where(surface.normal[:, 2:] > 0.5, (0.45, 0.43, 0.42), color)

    return Material(albedo)


def tiles(color: Color) -> Material:
    """A tiled roof."""

    def albedo(surface: Surface) -> Array:
        rows = _stripes(surface.point[:, 2], 0.35, 0.3, surface.footprint)
        return np.asarray(color, np.float32) * (1 - 0.3 * rows)[:, None] * _grain(surface, 0.2, 6.0)

    return Material(albedo)


def car_body(
    paint: Color, size: tuple[float, float, float], wheels: Sequence[tuple[float, float, float]]
) -> Material:
    """The lower body of a car: lamps, plates, doors and wheel arches.

    Args:
        paint: Color of the car.
        size: Length, width and height of the body in meters.
        wheels: (x, z, radius) of each axle in the body's frame.
    """
    length, width, height = size

    def albedo(surface: Surface) -> Array:
        x, y, z = surface.point.T
        footprint = surface.footprint
        color = np.asarray(paint, np.float32) * _grain(surface, 0.03, 4.0)
        on_side = np.abs(surface.normal[:, 1]) > 0.7
        at_end = np.abs(x) > length / 2 - 0.3
        front = x > 0

        sill = _band(z, -height / 2, -height / 2 + 0.16, footprint)
        color = _mix(color, (0.09, 0.09, 0.1), 0.9 * sill)
        seams = sum(_band(x, at, at + 0.03, footprint) for at in (0.2 * length, -0.05 * length))
        handle = _band(x, -0.02 * length, 0.02 * length, footprint) * _band(
            z, 0.12, 0.17, footprint
        )
        color = _mix(color, (0.08, 0.08, 0.08), 0.6 * on_side * np.clip(seams + handle, 0, 1))
        for center_x, center_z, radius in wheels:
            arch = np.hypot(x - center_x, z - center_z) < radius + 0.06
            color = np.where((on_side & arch)[:, None], 0.04, color)

        across = np.abs(y) / (width / 2)
        lamp = (across > 0.55) & (z > 0.02 * height) & (z < 0.32 * height) & at_end
        lamp_color = np.where(front[:, None], (1.25, 1.2, 1.05), (0.85, 0.05, 0.05))
        color = np.where(lamp[:, None], lamp_color, color)
        grille = at_end & front & ~on_side & (across < 0.5) & (np.abs(z) < 0.22 * height)
        color = np.where(grille[:, None], (0.06, 0.06, 0.07), color)
        plate = at_end & ~on_side & (np.abs(y) < 0.28) & (np.abs(z + 0.22 * height) < 0.07)
        return np.where(plate[:, None], (0.92, 0.92, 0.88), color)

    return Material(albedo, gloss=0.35)


def car_cabin(
    paint: Color, size: tuple[float, float, float], lean: float, solid_rear: bool
) -> Material:
    """The upper part of a car: glass, pillars and the roof.

    Args:
        paint: Color of the car.
        size: Length, width and height of the cabin in meters.
        lean: Angle in radians by which the sides lean inwards.
        solid_rear: Whether the rear half has sheet metal instead of glass, as vans do.
    """
    length, width, height = size

    def albedo(surface: Surface) -> Array:
        x, y, z = surface.point.T
        share_up = z / height + 0.5
        on_side = np.abs(surface.normal[:, 1]) > 0.6
        roof = surface.normal[:, 2] > 0.9
        half_width = width / 2 - (z + height / 2) * math.tan(lean)
        pillar = np.where(
            on_side,
            np.abs(np.mod(x / length + 0.05, 0.36) - 0.18) > 0.165,
            np.abs(y) > half_width - 0.09,
        )
        sheet = roof | pillar | (share_up > 0.9) | (share_up < 0.06)
        if solid_rear:
            sheet |= x < 0.08 * length
        return np.where(sheet[:, None], np.asarray(paint, np.float32), _DARK_GLASS)

    return Material(albedo, gloss=0.45)


def wheel(radius: float) -> Material:
    """A tire with a bright rim."""

    def albedo(surface: Surface) -> Array:
        x, _, z = surface.point.T
        distance = np.hypot(x, z) / radius
        spokes = np.cos(5 * np.arctan2(z, x)) > -0.3
        rim = (distance < 0.62) & (np.abs(surface.normal[:, 1]) > 0.5) & spokes
        return np.where(rim[:, None], (0.62, 0.63, 0.65), (0.05, 0.05, 0.055))

    return Material(albedo)


def cloth(color: Color, stripes: float = 0.0) -> Material:
    """A garment, with horizontal stripes of a given period in meters if it is above 0."""

    def albedo(surface: Surface) -> Array:
        tone = np.asarray(color, np.float32) * _grain(surface, 0.25, 0.8)
        if not stripes:
            return tone
        return _mix(
            tone,
            (0.9, 0.9, 0.88),
            _stripes(surface.point[:, 2] + 9, stripes, 0.45, surface.footprint),
        )

    return Material(albedo)


def sign_face(drawing: NDArray[np.uint8], size: float) -> Material:
    """A plate in the x-z plane with a drawing on its +y side and bare metal behind.

    Args:
        drawing: (S, S, 3) RGB picture.
        size: Side of the drawing on the plate in meters.
    """
    side = drawing.shape[0]
    # One smaller copy for every halving: a pixel reads the copy whose texels are as wide as it is.
    copies = [drawing]
    while copies[-1].shape[0] > 4:
        copies.append(cv2.resize(copies[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))

    def albedo(surface: Surface) -> Array:
        cols, rows = 0.5 - surface.point[:, 0] / size, 0.5 - surface.point[:, 2] / size
        wanted = np.log2(np.maximum(surface.footprint * side / size, 1)).round().astype(int)
        level = np.clip(wanted, 0, len(copies) - 1)
        color = np.empty((len(level), 3), np.float32)
        for number in np.unique(level):
            here, copy = level == number, copies[number]
            texel = np.clip(
                (np.stack([rows[here], cols[here]]) * copy.shape[0]).astype(int),
                0,
                copy.shape[0] - 1,
            )
            color[here] = copy[texel[0], texel[1]] / 255
        return np.where(surface.normal[:, 1:2] > 0.5, color, (0.5, 0.5, 0.5))

    return Material(albedo)
