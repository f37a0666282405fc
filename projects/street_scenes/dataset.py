"""Writes scenes as COCO, ADE20K-style and nuScenes data sets over the same images.

A data set's folder holds:

- images/{training,validation}/000000.jpg
- annotations/{training,validation}/000000.png: label maps, class + 1
- annotations/instances_{training,validation}.json: COCO instances with exact masks
- annotations/nuscenes_infos_{training,validation}.json: 3D boxes of the same cars and persons, see
  `projects.street_scenes.nuscenes_infos`
- settings.json: the settings
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from projects.street_scenes.classes import SEMANTIC_CLASSES, THING_CLASSES
from projects.street_scenes.folder import in_processes, make_folder
from projects.street_scenes.nuscenes_infos import frame_info, infos_file
from projects.street_scenes.render import SKY, Rendering, render
from projects.street_scenes.scene import Scene, sample_scene
from sparsevit_mm.errors import ConfigError

SPLITS = ('training', 'validation')

_Settings = TypeVar('_Settings')
_Result = TypeVar('_Result')

MIN_AREA = 32
"""Instances of fewer visible pixels are left out of the COCO files."""
MIN_VISIBLE_SHARE = 0.2
"""So are those of which less than this share of the outline is visible."""

_VERSION = 2
_SCENES_VERSION = 1  # what the images and their labels look like


@dataclass(frozen=True)
class DemoSettings:
    """Settings of a data set; equal settings give equal files.

    Attributes:
        training: Number of training scenes.
        validation: Number of validation scenes.
        width: Image width in pixels, at least 64.
        height: Image height in pixels, at least 64.
        seed: Seed of all scenes.
        version: Version of the generator.

    Raises:
        ConfigError: If a number is out of range.
    """

    training: int = 64
    validation: int = 32
    width: int = 448
    height: int = 224
    seed: int = 0
    version: int = _VERSION

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = {'width': 64, 'height': 64, 'seed': 0}.get(field.name, 1)
            if value < least:
                raise ConfigError(f'{field.name} is {value}, but must be at least {least}.')

    def scene(self, split: str, index: int) -> Scene:
        """Returns one scene of a split."""
        rng = np.random.default_rng([self.seed, SPLITS.index(split), index])
        return sample_scene(rng, self.width, self.height)


@dataclass(frozen=True)
class WideSettings(DemoSettings):
    """Settings of a data set whose camera has a wide lens: small objects on large images.

    Attributes:
        shorter: How many times shorter the focal length is. With 2, objects have as many pixels as
            on images of half the sides, and there is four times as much around them.
    """

    validation: int = 24
    width: int = 896
    height: int = 448
    shorter: int = 2

    def scene(self, split: str, index: int) -> Scene:
        """Returns one scene of a split."""
        scene = super().scene(split, index)
        camera = replace(scene.camera, focal=scene.camera.focal / self.shorter)
        return replace(scene, camera=camera)


def make_dataset(
    root: str | Path,
    settings: DemoSettings,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Makes a data set, unless it exists already, see `make_folder`.

    Args:
        root: Folder of the data set.
        settings: Settings of the data set.
        workers: Processes to draw scenes with; all cores by default.
        progress: Called after every scene with the number done and the total.

    Returns:
        Whether anything was made.

    Raises:
        ConfigError: If the folder cannot be written, or holds something else.
    """
    return make_folder(
        Path(root), asdict(settings), lambda new: _write(new, settings, workers, progress)
    )


def _write(
    root: Path,
    settings: DemoSettings,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    for split in SPLITS:
        (root / 'images' / split).mkdir(parents=True)
        (root / 'annotations' / split).mkdir(parents=True)
    counts = settings.training, settings.validation
    for split, scenes in by_split(_write_scene, root, settings, counts, workers, progress).items():
        for name, content in (
            ('instances', _coco(settings, [scene.instances for scene in scenes])),
            ('nuscenes_infos', infos_file([scene.frame for scene in scenes])),
        ):
            path = root / 'annotations' / f'{name}_{split}.json'
            path.write_text(json.dumps(content))


def by_split(
    task: Callable[[tuple[Path, _Settings, str, int]], _Result],
    root: Path,
    settings: _Settings,
    counts: Sequence[int],
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> dict[str, list[_Result]]:
    """Draws the scenes of every split in several processes.

    Args:
        task: Draws a scene, given the folder, the settings, the split and the index in it.
        root: The folder.
        settings: Settings of the data set.
        counts: Scenes of each split.
        workers: Processes; all cores by default.
        progress: Called after every scene with the number done and the total.

    Returns:
        For each split the results of the task, in order.
    """
    jobs = [
        (root, settings, split, index)
        for split, count in zip(SPLITS, counts)
        for index in range(count)
    ]
    found: dict[str, list[_Result]] = {split: [] for split in SPLITS}
    for job, result in zip(jobs, in_processes(task, jobs, workers, progress)):
        found[job[2]].append(result)
    return found


@dataclass(frozen=True)
class _SceneLabels:
    """Labels of a scene for the files of its split."""

    instances: list[dict[str, Any]]
    frame: dict[str, Any]


def _write_scene(job: tuple[Path, DemoSettings, str, int]) -> _SceneLabels:
    """Writes one image and its label map; returns its labels."""
    root, settings, split, index = job
    scene = settings.scene(split, index)
    rendering = render(scene)
    labels = label_map(scene, rendering)
    write_image(root / 'images' / split / f'{index:06d}.jpg', rendering.image)
    write_image(root / 'annotations' / split / f'{index:06d}.png', labels)
    return _SceneLabels(
        instances(scene, rendering),
        frame_info(
            scene,
            index,
            f'{split}-{index:06d}',
            f'{index:06d}.jpg',
            visible_things(scene, rendering),
        ),
    )


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Writes an RGB image or a label map; JPEG at quality 95."""
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == '.jpg' else []
    path.write_bytes(cv2.imencode(path.suffix, image, options)[1].tobytes())


def label_map(scene: Scene, rendering: Rendering) -> NDArray[np.uint8]:
    """(H, W) label map: index in `SEMANTIC_CLASSES` + 1, so that 0 can mean unlabeled."""
    labels = [SEMANTIC_CLASSES.index(thing.category) + 1 for thing in scene.objects]
    # Index -1, the sky, reads the last entry.
    assert SKY == -1
    table = np.array([*labels, SEMANTIC_CLASSES.index('sky') + 1], np.uint8)
    return table[rendering.object_ids]


def visible_pixels(scene: Scene, rendering: Rendering) -> NDArray[np.int64]:
    """(N,) number of visible pixels of each of a scene's objects."""
    counts = np.bincount(rendering.object_ids.ravel() - SKY, minlength=len(scene.objects) + 1)
    return counts[1:]


def visible_things(scene: Scene, rendering: Rendering) -> list[int]:
    """Indices of the things of a scene that are visible enough to be labeled."""
    visible = visible_pixels(scene, rendering)
    share = visible / np.maximum(rendering.outline_areas, 1)
    return [
        number
        for number, thing in enumerate(scene.objects)
        if thing.category in THING_CLASSES
        and visible[number] >= MIN_AREA
        and share[number] >= MIN_VISIBLE_SHARE
    ]


def instances(scene: Scene, rendering: Rendering) -> list[dict[str, Any]]:
    """Returns the visible things of a scene as COCO annotations, without ids.

    Returns:
        Annotations with `category_id`, `bbox` (x, y, width, height), `area`, `segmentation` (a
        compressed run-length code of exactly the visible pixels) and `iscrowd` 0.
    """
    found = []
    for number in visible_things(scene, rendering):
        mask = rendering.object_ids == number
        code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        found.append(
            {
                'category_id': THING_CLASSES.index(scene.objects[number].category) + 1,
                'bbox': [float(number) for number in coco_mask.toBbox(code)],
                'area': int(np.count_nonzero(mask)),
                'segmentation': {'size': code['size'], 'counts': code['counts'].decode()},
                'iscrowd': 0,
            }
        )
    return found


def _coco(settings: DemoSettings, scenes: list[list[dict[str, Any]]]) -> dict[str, Any]:
    annotations = [
        {'image_id': image, **annotation}
        for image, found in enumerate(scenes)
        for annotation in found
    ]
    return {
        'info': {
            'description': 'Procedural street scenes of sparsevit_mm',
            'version': _SCENES_VERSION,
        },
        'images': [
            {
                'id': image,
                'file_name': f'{image:06d}.jpg',
                'width': settings.width,
                'height': settings.height,
            }
            for image in range(len(scenes))
        ],
        'annotations': [{'id': id_, **a} for id_, a in enumerate(annotations, start=1)],
        'categories': [{'id': id_, 'name': n} for id_, n in enumerate(THING_CLASSES, start=1)],
    }
