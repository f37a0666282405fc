"""Makes nuScenes infos (MMDetection3D's version 2) of scenes, for monocular 3D detection.

Boxes are upright in the vehicle's frame. In the frame of a camera that looks slightly downward they
would lean, which the seven numbers of a box cannot express. So the camera's frame in these infos is
that of the leveled camera (same position and heading, no pitch), and `cam2img` includes the pitch:
boxes and their projections are exact.

Pixel coordinates follow the frameworks' flips: the first pixel spans 0 to 1. The LiDAR's frame is
the vehicle's. Nothing moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from projects.street_scenes.camera import Camera
from projects.street_scenes.scene import Scene

CAMERA = 'CAM_FRONT'

CATEGORIES = (
    'car', 'truck', 'trailer', 'bus', 'construction_vehicle', 'bicycle', 'motorcycle', 'pedestrian',
    'traffic_cone', 'barrier',
)  # fmt: skip
"""nuScenes' classes in the order of their labels in info files."""

NUSCENES_NAMES = {'car': 'car', 'person': 'pedestrian'}
"""nuScenes' names of our classes; it has none for signs."""

_ATTRIBUTE_LABELS = {'car': 6, 'person': 3}  # vehicle.parked, pedestrian.standing
_PIXEL_CENTER = 0.5  # where the first pixel's center lies; `Camera` has it at 0


def camera_info(camera: Camera, lidar2ego: NDArray[np.float64] | None = None) -> dict[str, Any]:
    """Returns the calibration of a camera.

    Args:
        camera: The camera.
        lidar2ego: (4, 4) from the LiDAR's frame to the vehicle's; the identity by default.

    Returns:
        `height`, `width`, `cam2img` (3, 3), `cam2ego` and `lidar2cam` (4, 4), as nested lists.
    """
    level = camera.leveled
    to_image = camera.intrinsics
    to_image[:2, 2] += _PIXEL_CENTER
    cam2ego = np.eye(4)
    cam2ego[:3, :3], cam2ego[:3, 3] = level.rotation.T, level.position
    lidar2cam = np.linalg.inv(cam2ego)
    if lidar2ego is not None:
        lidar2cam = lidar2cam @ lidar2ego
    return {
        'height': camera.height,
        'width': camera.width,
        'cam2img': (to_image @ camera.rotation @ level.rotation.T).tolist(),
        'cam2ego': cam2ego.tolist(),
        'lidar2cam': lidar2cam.tolist(),
    }


def cam_instances(scene: Scene, numbers: Iterable[int]) -> list[dict[str, Any]]:
    """Returns the 3D boxes of a scene's objects in the frame of its leveled camera.

    Args:
        scene: The scene.
        numbers: Indices of the objects; those without a class in nuScenes are left out.

    Returns:
        Annotations with `bbox_3d` (x, y, z of the middle; length, height, width; yaw, in meters and
        radians), `bbox_label_3d`, `bbox` (what the box covers of the image: left, top, right,
        bottom), `center_2d` and `depth` of the middle, `velocity` and `attr_label`.
    """
    camera, to_image = scene.camera, np.array(camera_info(scene.camera)['cam2img'])
    found = []
    for number in numbers:
        thing = scene.objects[number]
        name = NUSCENES_NAMES.get(thing.category)
        if name is None:
            continue
        box, label = thing.box.in_camera(camera.leveled), CATEGORIES.index(name)
        length, width, height = box.size
        *place, depth = (to_image @ np.array(box.center)).tolist()
        found.append(
            {
                'bbox_3d': [*box.center, length, height, width, box.yaw],
                'bbox_label_3d': label,
                'bbox_3d_isvalid': True,
                'bbox': _covered(camera, thing.box.corners()),
                'bbox_label': label,
                'center_2d': [product / depth for product in place],
                'depth': depth,
                'velocity': [0.0, 0.0],
                'attr_label': _ATTRIBUTE_LABELS[thing.category],
            }
        )
    return found


def frame_info(
    scene: Scene, index: int, token: str, img_path: str, numbers: Iterable[int]
) -> dict[str, Any]:
    """Makes the info of one frame.

    Args:
        scene: The scene.
        index: Index of the frame in its split.
        token: Name of the frame.
        img_path: Name of the image in its folder.
        numbers: Indices of the labeled objects.
    """
    return {
        'sample_idx': index,
        'token': token,
        'ego2global': np.eye(4).tolist(),
        'images': {CAMERA: {'img_path': img_path, **camera_info(scene.camera)}},
        'cam_instances': {CAMERA: cam_instances(scene, numbers)},
    }


def infos_file(frames: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Makes the content of an info file."""
    metainfo = {
        'categories': {name: label for label, name in enumerate(CATEGORIES)},
        'dataset': 'nuscenes',
        'info_version': '1.1',
    }
    return {'metainfo': metainfo, 'data_list': list(frames)}


def _covered(camera: Camera, corners: NDArray[np.float64]) -> list[float]:
    """Left, top, right and bottom of the part of the image that a box covers."""
    size = np.array([camera.width, camera.height])
    return [
        float(side)
        for bound in camera.image_extents(corners[None])
        for side in np.clip(bound[0] + _PIXEL_CENTER, 0, size)
    ]
