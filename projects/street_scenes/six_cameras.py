"""Writes streets around a vehicle as a six-camera data set with nuScenes infos (version 2).

A data set's folder holds:

- samples/<camera>/<split>-000000__<camera>.jpg
- annotations/nuscenes_infos_{training,validation}.json: for each frame the six cameras, the boxes
  in the LiDAR's frame (`instances`) and those that each camera sees in its own (`cam_instances`)
- settings.json: the settings

There is no LiDAR. Its frame is like nuScenes' (x right, y forward, z up, on the roof), but level,
so that boxes are upright in it. Nothing moves, and the world's frame is the vehicle's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from projects.street_scenes.dataset import (
    SPLITS,
    DemoSettings,
    by_split,
    visible_pixels,
    visible_things,
    write_image,
)
from projects.street_scenes.folder import make_folder
from projects.street_scenes.nuscenes_infos import (
    CATEGORIES,
    NUSCENES_NAMES,
    cam_instances,
    camera_info,
    infos_file,
)
from projects.street_scenes.render import Rendering, render
from projects.street_scenes.scene import Scene
from projects.street_scenes.solids import yaw_rotation
from projects.street_scenes.surroundings import CAMERA_NAMES, sample_surroundings, surround_cameras

LIDAR_POSITION = (0.94, 0.0, 1.84)
"""Position of the LiDAR in the vehicle's frame, in meters."""

LIDAR_YAW = -np.pi / 2
"""Yaw of the LiDAR to the left: its x axis points to the right."""

_VERSION = 1


@dataclass(frozen=True)
class SixCameraSettings(DemoSettings):
    """Settings of a six-camera data set, with the fields of `DemoSettings`."""

    training: int = 96
    validation: int = 24
    width: int = 336
    height: int = 168
    version: int = _VERSION

    def scenes(self, split: str, index: int) -> dict[str, Scene]:
        """The scenes of one frame by camera name."""
        rng = np.random.default_rng([self.seed, SPLITS.index(split), index])
        light, objects = sample_surroundings(rng)
        cameras = surround_cameras(self.width, self.height)
        return {name: Scene(camera, light, objects) for name, camera in cameras.items()}


def make_six_camera_dataset(
    root: str | Path,
    settings: SixCameraSettings,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Makes a six-camera data set, unless it exists already, see `make_folder`.

    Args:
        root: Folder of the data set.
        settings: Settings of the data set.
        workers: Processes to draw frames with; all cores by default.
        progress: Called with the frames done and the frames in all after every frame.

    Returns:
        Whether anything was made.

    Raises:
        ConfigError: If the folder cannot be written, or holds something else.
    """

    def write(new: Path) -> None:
        for name in CAMERA_NAMES:
            (new / 'samples' / name).mkdir(parents=True)
        (new / 'annotations').mkdir()
        counts = settings.training, settings.validation
        drawn = by_split(_write_frame, new, settings, counts, workers, progress)
        for split, frames in drawn.items():
            path = new / 'annotations' / f'nuscenes_infos_{split}.json'
            path.write_text(json.dumps(infos_file(frames)))

    made_from = {'cameras': list(CAMERA_NAMES), **asdict(settings)}
    return make_folder(Path(root), made_from, write)


def _write_frame(job: tuple[Path, SixCameraSettings, str, int]) -> dict[str, Any]:
    """Writes the six images of a frame and returns its info."""
    root, settings, split, index = job
    token = f'{split}-{index:06d}'
    scenes = settings.scenes(split, index)
    renderings = {name: render(scene) for name, scene in scenes.items()}
    for name, rendering in renderings.items():
        write_image(root / 'samples' / name / image_name(token, name), rendering.image)
    return surround_info(scenes, renderings, index, token)


def image_name(token: str, camera: str) -> str:
    """Name of an image; unlike nuScenes' own it is told apart by the frame's token."""
    return f'{token}__{camera}.jpg'


def surround_info(
    scenes: Mapping[str, Scene], renderings: Mapping[str, Rendering], index: int, token: str
) -> dict[str, Any]:
    """Makes the info of one frame.

    Args:
        scenes: What each camera sees; the objects are the same.
        renderings: Its image.
        index: Number of the frame in its split.
        token: Name of the frame.
    """
    lidar2ego = np.eye(4)
    lidar2ego[:3, :3], lidar2ego[:3, 3] = yaw_rotation(LIDAR_YAW), LIDAR_POSITION
    seen = {name: visible_things(scene, renderings[name]) for name, scene in scenes.items()}
    by_anyone = sorted(set().union(*seen.values()))
    return {
        'sample_idx': index,
        'token': token,
        'ego2global': np.eye(4).tolist(),
        'lidar_points': {'lidar2ego': lidar2ego.tolist()},
        'images': {
            name: {
                'img_path': image_name(token, name),
                **camera_info(scene.camera, lidar2ego),
            }
            for name, scene in scenes.items()
        },
        'instances': _instances(scenes, renderings, by_anyone),
        'cam_instances': {name: cam_instances(scene, seen[name]) for name, scene in scenes.items()},
    }


def _instances(
    scenes: Mapping[str, Scene], renderings: Mapping[str, Rendering], numbers: list[int]
) -> list[dict[str, Any]]:
    """Boxes in the LiDAR's frame of objects that at least one camera sees.

    What `num_lidar_pts` counts are the pixels that show an object.
    """
    objects = next(iter(scenes.values())).objects
    pixels = np.sum([visible_pixels(scenes[name], renderings[name]) for name in scenes], axis=0)
    found = []
    for number in numbers:
        name = NUSCENES_NAMES.get(objects[number].category)
        if name is None:
            continue
        offset = np.array(LIDAR_POSITION)
        box = objects[number].box.moved(-offset, 0).moved(np.zeros(3), -LIDAR_YAW)
        label = CATEGORIES.index(name)
        found.append(
            {
                'bbox_3d': [*box.center, *box.size, box.yaw],
                'bbox_label_3d': label,
                'bbox_label': label,
                'bbox_3d_isvalid': True,
                'num_lidar_pts': int(pixels[number]),
                'num_radar_pts': 0,
                'velocity': [0.0, 0.0],
            }
        )
    return found
