"""Makes MMDetection3D's info files (version 2) of KITTI from images, labels and calibration.

MMDetection3D's own converter also reads every LiDAR sweep, which a camera's detector does not need.
These files hold what its `KittiDataset` reads with `load_type='fov_image_based'` and
`use_lidar=False`, and what `KittiMetric` and `KittiAPMetric` read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.fileio import dump
from numpy.typing import NDArray
from PIL import Image

from sparsevit_mm.errors import DataError
from sparsevit_mm.files import replace_bytes

CLASSES = (
    'Pedestrian', 'Cyclist', 'Car', 'Van', 'Truck', 'Person_sitting', 'Tram', 'Misc',
)  # fmt: skip
"""In the order of their labels in the info files."""

CATEGORIES = {**{name: label for label, name in enumerate(CLASSES)}, 'DontCare': -1}

CAMERA = 'CAM2'
SPLITS = ('train', 'val')
SUFFIXES = ('pkl', 'json')

_IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg')
_LABEL_FIELDS = (15, 16)  # detections have a score


@dataclass(frozen=True)
class KittiObject:
    """One line of a label file.

    Attributes:
        name: Class.
        truncated: Share outside the image, 0–1; -1 if not known.
        occluded: 0 visible, 1 partly, 2 largely occluded, 3 unknown; -1 for "DontCare" areas.
        alpha: Observation angle, radians.
        bbox: Left, top, right, bottom in the image, pixels.
        size: Length, height, width, meters.
        bottom: Center of the bottom in the rectified camera's frame, meters.
        rotation_y: Rotation about the camera's y axis, radians.
        score: Confidence of detections; 0 for annotations.
    """

    name: str
    truncated: float
    occluded: int
    alpha: float
    bbox: tuple[float, ...]
    size: tuple[float, ...]
    bottom: tuple[float, ...]
    rotation_y: float
    score: float = 0.0

    @classmethod
    def parse(cls, line: str) -> KittiObject:
        """Reads a line.

        Raises:
            ValueError: If fields are missing or not numbers.
        """
        name, *texts = line.split()
        if len(texts) + 1 not in _LABEL_FIELDS:
            raise ValueError(f'{len(texts) + 1} fields instead of 15 or 16')
        values = [float(text) for text in texts]
        height, width, length = values[7:10]
        return cls(
            name,
            values[0],
            int(values[1]),
            values[2],
            tuple(values[3:7]),
            (length, height, width),
            tuple(values[10:13]),
            values[13],
            *values[14:],
        )

    @property
    def label(self) -> int:
        """Label of the class; -1 if it is none of KITTI's."""
        return CATEGORIES.get(self.name, -1)

    @property
    def center(self) -> NDArray[np.float64]:
        """Center of the box in the camera's frame, (3,), meters."""
        return np.array(self.bottom) - [0, self.size[1] / 2, 0]

    def corners(self) -> NDArray[np.float64]:
        """Corners of the box in the camera's frame, (8, 3), meters."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
        along, down, across = (signs * self.size).T
        cos, sin = np.cos(self.rotation_y), np.sin(self.rotation_y)
        turned = np.stack([cos * along + sin * across, down, cos * across - sin * along], axis=1)
        return turned + self.center


def read_labels(path: Path) -> list[KittiObject]:
    """Reads the objects of a label file.

    Raises:
        DataError: If a line is not in KITTI's format.
    """
    objects = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.strip():
            try:
                objects.append(KittiObject.parse(line))
            except ValueError as error:
                raise DataError(f'{path}, line {number} is no label of KITTI: {error}.') from None
    return objects


def read_calibration(path: Path) -> dict[str, NDArray[np.float64]]:
    """Reads the matrices of a calibration file, each extended to (4, 4).

    Raises:
        DataError: If a matrix is missing or has another shape.
    """
    matrices = {}
    for line in path.read_text().splitlines():
        name, _, values = line.partition(':')
        if values.strip():
            numbers = np.array(values.split(), dtype=np.float64)
            if len(numbers) not in (9, 12):
                raise DataError(f'{name} in {path} has {len(numbers)} numbers instead of 9 or 12.')
            whole = np.eye(4)
            whole[:3, : len(numbers) // 3] = numbers.reshape(3, -1)
            matrices[name.strip()] = whole
    for name in ('P2', 'R0_rect', 'Tr_velo_to_cam'):
        if name not in matrices:
            raise DataError(f'{path} has no {name}, but only {sorted(matrices)}.')
    return matrices


def frame_info(folder: Path, frame: str) -> dict[str, Any]:
    """Makes the info of one frame.

    Args:
        folder: With `image_2`, `calib` and, if the frame is annotated, `label_2`.
        frame: The name of its files without suffix, such as 000003.

    Raises:
        DataError: If a file is missing or not in KITTI's format.
    """
    image = next(
        (
            path
            for suffix in _IMAGE_SUFFIXES
            if (path := folder / 'image_2' / f'{frame}{suffix}').is_file()
        ),
        None,
    )
    if image is None:
        raise DataError(
            f'{folder / "image_2"} has no image {frame} ({", ".join(_IMAGE_SUFFIXES)}).'
        )
    calibration = folder / 'calib' / f'{frame}.txt'
    if not calibration.is_file():
        raise DataError(f'{calibration} does not exist.')
    with Image.open(image) as opened:
        width, height = opened.size
    matrices = read_calibration(calibration)
    to_camera = matrices['R0_rect'] @ matrices['Tr_velo_to_cam']
    images: dict[str, Any] = {
        f'CAM{name[1]}': {
            'cam2img': matrix.tolist(),
            'lidar2img': (matrix @ to_camera).tolist(),
        }
        for name, matrix in matrices.items()
        if name.startswith('P')
    }
    images[CAMERA] |= {
        'img_path': image.name,
        'height': height,
        'width': width,
        'lidar2cam': to_camera.tolist(),
    }
    info: dict[str, Any] = {'sample_idx': int(frame), 'images': images}
    labels = folder / 'label_2' / f'{frame}.txt'
    if labels.is_file():
        objects = read_labels(labels)
        matrix = matrices['P2']
        info['instances'] = [_instance(thing, matrix) for thing in objects]
        info['cam_instances'] = {CAMERA: _cam_instances(objects, matrix, (width, height))}
    return info


def make_infos(
    root: str | Path,
    splits: Iterable[str] = SPLITS,
    out_dir: str | Path | None = None,
    suffix: str = 'pkl',
) -> dict[Path, int]:
    """Writes `kitti_infos_{split}.{suffix}` for each split.

    Args:
        root: Folder with `training` and `ImageSets`.
        splits: Names of files in `ImageSets`; 'test' reads the folder `testing`.
        out_dir: Where to write; by default into `root`.
        suffix: 'pkl', as MMDetection3D's configs name it, or 'json'.

    Returns:
        The number of frames by written file.

    Raises:
        DataError: If files are missing or not in KITTI's format; nothing is written then.
    """
    root, target = Path(root), Path(out_dir or root)
    if suffix not in SUFFIXES:
        raise DataError(f'suffix is {suffix!r}, but must be one of {SUFFIXES}.')
    contents = {}
    for split in splits:
        listed = root / 'ImageSets' / f'{split}.txt'
        if not listed.is_file():
            raise DataError(f'{listed} does not exist, but names the frames of {split}.')
        folder = root / ('testing' if split == 'test' else 'training')
        frames = [frame_info(folder, frame) for frame in listed.read_text().split()]
        contents[target / f'kitti_infos_{split}.{suffix}'] = frames
    target.mkdir(parents=True, exist_ok=True)
    metainfo = {'categories': CATEGORIES, 'dataset': 'kitti', 'info_version': '1.1'}
    for path, frames in contents.items():
        content = {'metainfo': metainfo, 'data_list': frames}
        infos = dump(content, file_format=suffix)
        replace_bytes(path, infos.encode() if isinstance(infos, str) else infos)
    return {path: len(frames) for path, frames in contents.items()}


def _instance(thing: KittiObject, to_image: NDArray[np.float64]) -> dict[str, Any]:
    """The label, with the projection of the box's center into the image."""
    *place, depth = (to_image @ np.append(thing.center, 1))[:3].tolist()
    return {
        'bbox': list(thing.bbox),
        'bbox_label': thing.label,
        'bbox_3d': [*thing.bottom, *thing.size, thing.rotation_y],
        'bbox_label_3d': thing.label,
        'center_2d': [value / depth for value in place],
        'depth': depth,
        'truncated': thing.truncated,
        'occluded': thing.occluded,
        'alpha': thing.alpha,
        'score': thing.score,
    }


def _cam_instances(
    objects: Iterable[KittiObject], to_image: NDArray[np.float64], size: tuple[int, int]
) -> list[dict[str, Any]]:
    """Objects in the camera's view; `bbox` encloses the visible part of their 3D boxes."""
    found = []
    for thing in objects:
        instance = _instance(thing, to_image)
        covered = _covered(thing.corners(), to_image, size)
        if thing.label >= 0 and covered is not None and instance['depth'] > 0:
            found.append({**_cam_instance(instance), 'bbox': covered})
    if not found:
        # `KittiDataset` cannot read a frame without instances; it drops instances labeled -1.
        nothing = {'bbox': [0.0] * 4, 'bbox_3d': [0.0] * 7, 'center_2d': [0.0] * 2, 'depth': 0.0}
        found.append({**_cam_instance(nothing | {'bbox_label': -1, 'bbox_label_3d': -1})})
    return found


def _cam_instance(instance: Mapping[str, Any]) -> dict[str, Any]:
    kept = ('bbox_label', 'bbox_label_3d', 'bbox', 'bbox_3d', 'center_2d', 'depth')
    return {**{key: instance[key] for key in kept}, 'bbox_3d_isvalid': True, 'velocity': -1}


def _covered(
    corners: NDArray[np.float64], to_image: NDArray[np.float64], size: tuple[int, int]
) -> list[float] | None:
    """Bounds of the part of the image that a box covers: left, top, right, bottom; or None."""
    from shapely.geometry import MultiPoint, box  # comes with MMDetection3D

    in_front = corners[corners[:, 2] > 0]
    points = in_front @ to_image[:3, :3].T + to_image[:3, 3]
    outline = MultiPoint(points[:, :2] / points[:, 2:]).convex_hull
    inside = outline.intersection(box(0, 0, *size))
    return None if inside.is_empty else list(inside.bounds)
