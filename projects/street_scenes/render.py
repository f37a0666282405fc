"""Renders a scene: its image, its depth and the object that every pixel shows.

One ray per pixel center finds the nearest object, so that masks are exactly the visible pixels.
Colors have sunlight, skylight, shadows on the ground, reflections of the sky and haze. Only colors
are smoothed along outlines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from projects.street_scenes.camera import Camera
from projects.street_scenes.materials import Surface, noise
from projects.street_scenes.scene import Light, Scene, SceneObject
from projects.street_scenes.solids import hit_depth, hit_surface

Array = NDArray[Any]

SKY = -1
"""Object index of pixels that show the sky."""

_GROUND = ('road', 'sidewalk', 'terrain')
_GAMMA = 2.2


@dataclass(frozen=True, eq=False)
class Rendering:
    """An image with the depth and the object of every pixel.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float32 along the camera's axis in meters, infinite in the sky.
        object_ids: (H, W) int32 index into the scene's objects, `SKY` in the sky.
        outline_areas: Pixels each object would cover if nothing stood before it.
    """

    image: NDArray[np.uint8]
    depth: Array
    object_ids: NDArray[np.int32]
    outline_areas: NDArray[np.int64]


def render(scene: Scene) -> Rendering:
    """Renders a scene."""
    camera = scene.camera
    shape = camera.height, camera.width
    rays = camera.rays()
    depth, object_ids, solid_ids, areas = _trace(scene, rays)

    color = np.empty((len(rays), 3), np.float32)
    open_sky = object_ids == SKY
    color[open_sky] = _sky(scene.light, rays[open_sky], clouds=True) ** _GAMMA
    lit = _ground_light(scene, rays, depth, object_ids)
    for (number, solid_number), pixels in _pixels_by_solid(object_ids, solid_ids):
        color[pixels] = _shade(
            scene, scene.objects[number], solid_number, rays[pixels], depth[pixels], lit[pixels]
        )
    image = np.clip(color, 0, 1) ** (1 / _GAMMA)
    image = _smooth_outlines(image.reshape(*shape, 3), object_ids.reshape(shape))
    return Rendering(
        (image * 255 + 0.5).astype(np.uint8),
        depth.reshape(shape),
        object_ids.reshape(shape),
        areas,
    )


def _window(camera: Camera, rectangle: NDArray[np.int64]) -> NDArray[np.intp]:
    """Flat indices of the pixels in a rectangle."""
    left, top, right, bottom = rectangle.tolist()
    rows, cols = np.arange(top, bottom), np.arange(left, right)
    return (rows[:, None] * camera.width + cols[None, :]).ravel()


def _trace(
    scene: Scene, rays: Array
) -> tuple[Array, NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Depth, object and solid of every ray's first hit, and every object's own outline area."""
    origin = np.array(scene.camera.position)
    depth = np.full(len(rays), np.inf, np.float32)
    object_ids = np.full(len(rays), SKY, np.int32)
    solid_ids = np.zeros(len(rays), np.int32)
    areas = np.zeros(len(scene.objects), np.int64)
    outline = np.zeros(len(rays), bool)
    for number, thing in enumerate(scene.objects):
        outline[:] = False
        rectangles = scene.camera.image_rectangles(np.stack([s.corners() for s in thing.solids]))
        for solid_number, (solid, rectangle) in enumerate(zip(thing.solids, rectangles)):
            pixels = _window(scene.camera, rectangle)
            if not len(pixels):
                continue
            found = hit_depth(solid, origin, rays[pixels])
            outline[pixels[np.isfinite(found)]] = True
            nearer = found < depth[pixels]
            pixels = pixels[nearer]
            depth[pixels] = found[nearer]
            object_ids[pixels], solid_ids[pixels] = number, solid_number
        areas[number] = np.count_nonzero(outline)
    return depth, object_ids, solid_ids, areas


def _pixels_by_solid(
    object_ids: NDArray[np.int32], solid_ids: NDArray[np.int32]
) -> Iterator[tuple[tuple[int, int], NDArray[np.intp]]]:
    """Yields ((object, solid), flat pixels) for every solid in view."""
    keys = object_ids.astype(np.int64) * 1000 + solid_ids
    order = np.argsort(keys, kind='stable')
    ordered = keys[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    for start, end in zip(starts, np.r_[starts[1:], len(order)]):
        if ordered[start] >= 0:
            yield divmod(int(ordered[start]), 1000), order[start:end]


def _sky(light: Light, way: Array, clouds: bool) -> Array:
    """(P, 3) sRGB color of the sky in some directions."""
    unit = way / np.linalg.norm(way, axis=1, keepdims=True)
    up = np.clip(unit[:, 2:], 0, 1)
    color = (
        np.asarray(light.horizon) + (np.asarray(light.sky) - np.asarray(light.horizon)) * up**0.45
    )
    toward_sun = np.clip(unit @ light.direction.astype(np.float32), 0, 1)[:, None]
    glow = np.asarray(light.sun) * (0.35 * toward_sun**8 + 0.6 * toward_sun**200)
    color = color + glow * (1 - light.clouds * 0.7)
    if clouds:
        # Clouds lie on a plane overhead, so that they crowd toward the horizon.
        height = np.maximum(unit[:, 2], 0.02)
        x, y = unit[:, 0] / height, unit[:, 1] / height
        cover = noise(x + light.seed, y + 3 * light.seed, 9.0) + light.clouds - 0.45
        share = np.clip(cover * 2.2, 0, 0.92) * np.clip(unit[:, 2] * 9, 0, 1)
        white = 0.80 + 0.18 * np.clip(1.2 - cover, 0, 1)
        color = color * (1 - share[:, None]) + (white * share)[:, None]
    return np.clip(color, 0, 1).astype(np.float32)


def _shade(
    scene: Scene, thing: SceneObject, solid_number: int, rays: Array, depth: Array, lit: Array
) -> Array:
    """(P, 3) linear colors of pixels that show one solid."""
    solid, light = thing.solids[solid_number], scene.light
    point, own_normal = hit_surface(solid, np.array(scene.camera.position), rays, depth)
    normal = own_normal @ solid.rotation.astype(np.float32).T
    distance = depth * np.linalg.norm(rays, axis=1)
    slant = np.abs(np.einsum('pi,pi->p', normal, rays)) / np.linalg.norm(rays, axis=1)
    footprint = depth / scene.camera.focal / np.sqrt(np.clip(slant, 0.08, 1))
    surface = Surface(point, own_normal, footprint)
    albedo = np.clip(solid.material.albedo(surface), 0, 1.3) ** _GAMMA

    sun = np.clip(normal @ light.direction.astype(np.float32), 0, None) * lit[:, 0]
    above = (np.asarray(light.sky) * 0.5 + np.asarray(light.horizon) * 0.5) ** _GAMMA
    below = np.array([0.24, 0.22, 0.19])
    share = (0.5 + 0.5 * normal[:, 2:]) * lit[:, 1:]
    ambient = above * share * 0.95 + below * (1 - share)
    color = albedo * (sun[:, None] * np.asarray(light.sun) + ambient)
    if solid.material.gloss:
        mirrored = rays - 2 * np.einsum('pi,pi->p', normal, rays)[:, None] * normal
        fresnel = solid.material.gloss * (0.25 + 0.75 * (1 - slant[:, None]) ** 3)
        upward = np.clip(mirrored[:, 2:] * 4 + 0.5, 0, 1)
        image = _sky(light, mirrored, clouds=False) ** _GAMMA * upward + 0.05 * (1 - upward)
        color = color * (1 - fresnel) + image * fresnel
    haze = np.exp(-distance / light.haze)[:, None]
    return color * haze + np.asarray(light.horizon) ** _GAMMA * (1 - haze)


def _ground_light(scene: Scene, rays: Array, depth: Array, object_ids: NDArray[np.int32]) -> Array:
    """(P, 2) share of sunlight and of skylight that reaches every pixel; below 1 on the ground."""
    camera = scene.camera
    lit = np.ones((len(rays), 2), np.float32)
    ground = [number for number, thing in enumerate(scene.objects) if thing.category in _GROUND]
    on_ground = np.isin(object_ids, ground)
    points = rays * np.where(on_ground, depth, 0)[:, None] + np.array(camera.position, np.float32)
    standing = [thing for thing in scene.objects if thing.category not in _GROUND]
    corners = np.stack([thing.box.corners() for thing in standing])

    # Where a box's shadow falls: every corner slid along the sunbeams down to the ground.
    sun = scene.light.direction
    shadows = np.concatenate([corners, corners - corners[..., 2:] / sun[2] * sun], axis=1)
    for thing, rectangle in zip(standing, _ground_rectangles(camera, shadows, 0)):
        pixels = _window(camera, rectangle)
        pixels = pixels[on_ground[pixels]]
        for solid in thing.solids if len(pixels) else ():
            beams = np.broadcast_to(sun.astype(np.float32), (len(pixels), 3))
            lit[pixels[np.isfinite(hit_depth(solid, points[pixels], beams))], 0] = 0

    for thing, rectangle in zip(standing, _ground_rectangles(camera, corners, 0.5)):
        if thing.category in ('building', 'car', 'person'):
            pixels = _window(camera, rectangle)
            pixels = pixels[on_ground[pixels]]
            lit[pixels, 1] *= _open_sky(thing, points[pixels])
    return lit


def _ground_rectangles(camera: Camera, points: Array, margin: float) -> NDArray[np.int64]:
    """(N, 4) rectangles in which the ground below or above (N, M, 3) points can be seen."""
    low, high = points.min(1) - margin, points.max(1) + margin
    low[:, 2], high[:, 2] = -0.05, 0.15
    is_high = np.array([[number >> axis & 1 for axis in range(3)] for number in range(8)])
    return camera.image_rectangles(np.where(is_high, high[:, None], low[:, None]))


def _open_sky(thing: SceneObject, points: Array) -> Array:
    """(P,) share of the sky that an object standing on the ground leaves open around its foot."""
    cos, sin = np.cos(thing.box.yaw), np.sin(thing.box.yaw)
    offset = points[:, :2] - np.array(thing.box.center[:2])
    along, across = offset[:, 0] * cos + offset[:, 1] * sin, offset[:, 1] * cos - offset[:, 0] * sin
    outside = np.hypot(
        np.maximum(np.abs(along) - thing.box.size[0] / 2 + 0.1, 0),
        np.maximum(np.abs(across) - thing.box.size[1] / 2 + 0.1, 0),
    )
    return 1 - 0.75 * np.clip(1 - outside / 0.5, 0, 1)


def _smooth_outlines(image: Array, object_ids: NDArray[np.int32]) -> Array:
    """Blends colors where two objects meet, in place of many rays a pixel."""
    edge = np.zeros(object_ids.shape, bool)
    across = object_ids[:, 1:] != object_ids[:, :-1]
    down = object_ids[1:] != object_ids[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return np.where(edge[..., None], cv2.GaussianBlur(image, (3, 3), 0.55), image)
