"""Convex solids and their intersection with rays.

All objects are made of one type of solid: the intersection of half-spaces and, for round ones, of a
quadric. That covers boxes, prisms, ellipsoids and cylinders.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from projects.street_scenes.materials import Material, cutout

Array = NDArray[Any]
Vector = Sequence[float] | Array


@dataclass(frozen=True, eq=False)
class Solid:
    """A convex solid.

    Attributes:
        planes: (N, 4) rows (a, b, c, d) that keep the points with a*x + b*y + c*z <= d, in the
            solid's own frame; (a, b, c) has length 1.
        radii: (3,) semi-axes of the quadric, infinite along the axis of a cylinder; None without.
        half_size: (3,) half of the extent along each of its own axes, in meters.
        center: (3,) origin of its own frame.
        rotation: (3, 3) from its own frame outwards.
        material: What it looks like.
    """

    planes: Array
    radii: Array | None
    half_size: Array
    center: Array
    rotation: Array
    material: Material

    def corners(self) -> Array:
        """(8, 3) corners of its own bounding box, counted in binary along its axes."""
        return box_corners(self.half_size) @ self.rotation.T + self.center

    def moved(self, position: Array, rotation: Array) -> Solid:
        """Returns the solid rotated about the origin and then shifted."""
        return replace(
            self,
            center=rotation @ self.center + position,
            rotation=rotation @ self.rotation,
        )


def box_corners(half_size: Array) -> Array:
    """(8, 3) corners of a box about the origin, counted in binary along its axes."""
    signs = np.array([[(i >> axis & 1) * 2 - 1 for axis in range(3)] for i in range(8)])
    return signs * half_size


def yaw_rotation(yaw: float) -> Array:
    """(3, 3) rotation to the left about the vertical, in radians."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])


def pitch_rotation(pitch: float) -> Array:
    """(3, 3) forward rotation about the y axis, in radians."""
    cos, sin = math.cos(pitch), math.sin(pitch)
    return np.array([[cos, 0, sin], [0, 1.0, 0], [-sin, 0, cos]])


def box(size: Vector, center: Vector, material: Material) -> Solid:
    """A box of (length, width, height) around a point."""
    half = np.asarray(size, float) / 2
    planes = np.concatenate([np.c_[np.eye(3), half], np.c_[-np.eye(3), half]])
    return _solid(planes, None, half, center, material)


def ellipsoid(radii: Vector, center: Vector, material: Material) -> Solid:
    """An ellipsoid with given semi-axes."""
    half = np.asarray(radii, float)
    return _solid(np.empty((0, 4)), half, half, center, material)


def cylinder(radius: float, length: float, axis: int, center: Vector, material: Material) -> Solid:
    """A cylinder along one of the three axes."""
    half, radii = np.full(3, float(radius)), np.full(3, float(radius))
    half[axis], radii[axis] = length / 2, math.inf
    side = np.eye(3)[axis]
    planes = np.array([[*side, length / 2], [*-side, length / 2]])
    return _solid(planes, radii, half, center, material)


def limb(start: Array, end: Array, radius: float, material: Material) -> Solid:
    """A cylinder from one point to another."""
    along = np.asarray(end, float) - start
    length = float(np.linalg.norm(along))
    axis = along / length
    side = np.cross([0.0, 1.0, 0.0] if abs(axis[1]) < 0.9 else [1.0, 0.0, 0.0], axis)
    side /= np.linalg.norm(side)
    rotation = np.stack([side, np.cross(axis, side), axis], axis=1)
    center = (np.asarray(start) + end) / 2
    upright = cylinder(radius, length, 2, (0, 0, 0), material)
    return upright.moved(center, rotation)


def prism(
    profile: Sequence[tuple[float, float]],
    width: float,
    material: Material,
    lean: float = 0.0,
) -> Solid:
    """A prism: a convex outline in the x-z plane, extruded along y.

    Args:
        profile: (x, z) corners, counter-clockwise as seen from the right-hand side (-y).
        width: Extent along y at the lowest corner.
        material: What it looks like.
        lean: Angle in radians by which the two sides lean inwards.
    """
    corners = np.asarray(profile, float)
    low, high = corners.min(0), corners.max(0)
    middle = (low + high) / 2
    corners = corners - middle
    edges = np.roll(corners, -1, axis=0) - corners
    normals = np.stack([edges[:, 1], np.zeros(len(edges)), -edges[:, 0]], axis=1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    offsets = normals[:, 0] * corners[:, 0] + normals[:, 2] * corners[:, 1]
    half = np.array([(high - low)[0] / 2, width / 2, (high - low)[1] / 2])
    cos, sin = math.cos(lean), math.sin(lean)
    # A leaning side passes through (y, z) = (width / 2, lowest corner).
    offset = cos * half[1] - sin * half[2]
    sides = np.array([[0, cos, sin, offset], [0, -cos, sin, offset]])
    planes = np.concatenate([np.c_[normals, offsets], sides])
    return _solid(planes, None, half, (middle[0], 0, middle[1]), material)


def _solid(
    planes: Array, radii: Array | None, half: Array, center: Vector, material: Material
) -> Solid:
    return Solid(planes, radii, half, np.asarray(center, float), np.eye(3), material)


def hit_depth(solid: Solid, origins: Array, directions: Array) -> Array:
    """Intersects rays with a solid.

    Args:
        solid: The solid.
        origins: (3,) one origin for all rays, or (P, 3).
        directions: (P, 3) float32 directions of any length.

    Returns:
        (P,) ray parameters of the first points, infinite for rays that miss or start inside.
    """
    start, way = _in_frame(solid, origins, directions)
    enter, leave, plane = _interval(solid, start, way)
    depth: Array = np.where((enter < leave) & (enter > 0), enter, np.float32(np.inf))
    if solid.material.ragged:
        hit = np.isfinite(depth)
        start = start if start.ndim == 1 else start[hit]
        point, normal = _entry(solid, start, way[hit], enter[hit], plane[hit])
        depth[hit] = np.where(
            cutout(solid.material, point, normal, way[hit]), np.float32(np.inf), depth[hit]
        )
    return depth


def hit_surface(
    solid: Solid, origin: Array, directions: Array, depth: Array
) -> tuple[Array, Array]:
    """What rays that hit a solid touch.

    Args:
        solid: The solid.
        origin: (3,) origin of the rays.
        directions: (P, 3) float32 directions.
        depth: (P,) their `hit_depth`.

    Returns:
        (P, 3) points and (P, 3) outward normals, in the solid's own frame.
    """
    start, way = _in_frame(solid, origin, directions)
    # The interval's own depth may differ in the last bit, and a grazing ray then misses.
    _, _, plane = _interval(solid, start, way)
    return _entry(solid, start, way, depth, plane)


def _in_frame(solid: Solid, origins: Array, directions: Array) -> tuple[Array, Array]:
    start = ((origins - solid.center) @ solid.rotation).astype(np.float32)
    return start, directions @ solid.rotation.astype(np.float32)


def _interval(solid: Solid, start: Array, way: Array) -> tuple[Array, Array, NDArray[np.intp]]:
    """(P,) parameters at which rays enter and leave, and the number of the plane they enter by.

    Rays that miss enter after they leave. A ray that enters by the quadric has plane -1.
    """
    if solid.radii is None:
        enter = np.full(len(way), -np.inf, np.float32)
        leave = np.full(len(way), np.inf, np.float32)
    else:
        enter, leave = _quadric_interval(solid.radii.astype(np.float32), start, way)
    entered = np.full(len(way), -1)
    if len(solid.planes):
        normals = solid.planes[:, :3].astype(np.float32)
        toward = normals @ way.T
        distance = (solid.planes[:, 3].astype(np.float32) - start @ normals.T).T
        distance = distance.reshape(len(normals), -1)
        with np.errstate(divide='ignore', invalid='ignore'):
            crossing = distance / toward
        inward = np.where(toward < 0, crossing, -np.inf)
        # A ray along a plane never crosses it: outside it is outside for ever.
        inward[(toward == 0) & (distance < 0)] = np.inf
        last = inward.max(0)
        entered = np.where(last > enter, inward.argmax(0), entered)
        enter = np.maximum(enter, last)
        leave = np.minimum(leave, np.where(toward > 0, crossing, np.inf).min(0))
    return enter, leave, entered


def _entry(
    solid: Solid, start: Array, way: Array, enter: Array, plane: NDArray[np.intp]
) -> tuple[Array, Array]:
    """Points and outward normals where rays enter a solid."""
    point = start + enter[:, None] * way
    if solid.radii is None:
        return point, solid.planes[plane, :3].astype(np.float32)
    normal = point / np.square(solid.radii).astype(np.float32)
    normal /= np.maximum(np.sqrt(np.einsum('pi,pi->p', normal, normal)), 1e-9)[:, None]
    if len(solid.planes):
        flat = plane >= 0
        normal[flat] = solid.planes[plane[flat], :3]
    return point, normal


def _quadric_interval(radii: Array, start: Array, way: Array) -> tuple[Array, Array]:
    """Ray parameters between which rays are inside the quadric; (inf, -inf) if they never are."""
    scaled_start, scaled_way = start / radii, way / radii
    a = np.einsum('pi,pi->p', scaled_way, scaled_way)
    if start.ndim == 1:
        b = scaled_way @ scaled_start
        c = scaled_start @ scaled_start - 1
    else:
        b = np.einsum('pi,pi->p', scaled_way, scaled_start)
        c = np.einsum('pi,pi->p', scaled_start, scaled_start) - 1
    discriminant = b * b - a * c
    missed = (discriminant <= 0) | (a == 0)
    root = np.sqrt(np.where(missed, 0, discriminant))
    a = np.where(missed, 1, a)
    enter = np.where(missed, np.float32(np.inf), (-b - root) / a)
    leave = np.where(missed, -np.float32(np.inf), (-b + root) / a)
    return enter, leave
