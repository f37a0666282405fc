"""Safe reading of MMDetection3D's info files (version 2), and the camera matrices in them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine import fileio
from mmengine.config import Config
from numpy.typing import NDArray

from sparsevit_mm.checkpoints.reading import read_pickle
from sparsevit_mm.checks.configs import dataset_configs, type_name
from sparsevit_mm.errors import ConfigError


def read_infos(path: str | Path, backend_args: dict[str, Any] | None = None) -> dict[str, Any]:
    """Reads an info file.

    Args:
        path: A .json or .pkl file of version 2. Of a pickle only plain data and arrays are read.
        backend_args: mmengine's file backend; None reads from the disk.

    Returns:
        `metainfo`, and frames in `data_list`.

    Raises:
        ConfigError: If the file is missing, or is no info file of version 2.
    """
    if backend_args is None and not Path(path).is_file():
        raise ConfigError(f'the info file {path} does not exist.')
    try:
        content = fileio.get(path, backend_args)
        infos = json.loads(content) if Path(path).suffix == '.json' else read_pickle(content)
        found = {'data_list': list(infos['data_list']), 'metainfo': infos.get('metainfo', {})}
    except OSError as error:
        raise ConfigError(
            f'the info file {path} cannot be read: {error.strerror or error}.'
        ) from None
    except (
        ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
        pickle.UnpicklingError,
    ) as error:  # fmt: skip
        reason = ' '.join(str(error).split()).rstrip('.')
        raise ConfigError(
            f'{path} is not an info file of MMDetection3D, version 2: {reason}.'
        ) from None
    wrong = _what_is_wrong(found)
    if wrong:
        raise ConfigError(f'{path} is not an info file of MMDetection3D, version 2: {wrong}.')
    return found


def check_infos(cfg: Config, loaders: Iterable[str]) -> None:
    """Checks that the info files of nuScenes' data sets can be read and have what is asked for.

    Args:
        cfg: The whole config.
        loaders: Data loaders of the run, such as 'train_dataloader'.

    Raises:
        ConfigError: If one cannot be read, or boxes have no velocity where the data set wants one.
    """
    for loader in loaders:
        for field, dataset in dataset_configs(cfg.get(loader), loader):
            if type_name(dataset) != 'NuScenesDataset' or not dataset.get('ann_file'):
                continue
            path = Path(dataset.get('data_root') or '', dataset['ann_file'])
            frames = read_infos(path, dataset.get('backend_args'))['data_list']
            boxes = [box for frame in frames for box in frame.get('instances') or []]
            without = sum(isinstance(box, dict) and 'velocity' not in box for box in boxes)
            if without and dataset.get('with_velocity', True):
                raise ConfigError(
                    f'{without} of {len(boxes)} boxes in {path} have no velocity, but '
                    f'{field}.with_velocity asks for one: set it to False.'
                )


def _what_is_wrong(infos: dict[str, Any]) -> str:
    """What of the structure of an info file is of another kind; empty if nothing is."""
    if not isinstance(infos['metainfo'], dict):
        return f'metainfo is a {type(infos["metainfo"]).__name__}, but must be an object'
    categories = infos['metainfo'].get('categories', {})
    if not isinstance(categories, dict) or not all(
        isinstance(name, str) and isinstance(label, (int, np.integer))
        for name, label in categories.items()
    ):
        return 'metainfo.categories must be an object with a whole number for each name'
    for number, frame in enumerate(infos['data_list']):
        if not isinstance(frame, dict):
            return f'data_list[{number}] is a {type(frame).__name__}, but must be an object'
        images = frame.get('images', {})
        if not isinstance(images, dict):
            return f'data_list[{number}].images is a {type(images).__name__}, but must be an object'
        for camera, image in images.items():
            place = f'data_list[{number}].images.{camera}'
            if not isinstance(image, dict):
                return f'{place} is a {type(image).__name__}, but must be an object'
            if not isinstance(image.get('img_path'), (str, type(None))):
                return f'{place}.img_path must be text'
    return ''


def read_camera_matrices(path: str | Path) -> dict[str, NDArray[np.float64]]:
    """Reads the projection into every image that an info file names.

    Args:
        path: The info file.

    Returns:
        The (3, 3) or (4, 4) `cam2img` of each image, by the name of the image file.

    Raises:
        ConfigError: If the file cannot be read.
    """
    matrices = {}
    for number, frame in enumerate(read_infos(path)['data_list']):
        for camera, image in frame.get('images', {}).items():
            if not image.get('img_path') or 'cam2img' not in image:
                continue
            try:
                matrix = np.array(image['cam2img'], np.float64)
            except (ArithmeticError, TypeError, ValueError):
                matrix = np.empty(0)
            if matrix.shape not in ((3, 3), (3, 4), (4, 4)):
                raise ConfigError(
                    f'data_list[{number}].images.{camera}.cam2img of {path} is no matrix of three '
                    'or four rows of numbers.'
                )
            matrices[Path(image['img_path']).name] = matrix
    return matrices
