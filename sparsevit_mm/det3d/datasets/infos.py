"""Safe reading of MMDetection3D's info files (version 2), and the camera matrices in them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from mmengine import fileio
from numpy.typing import NDArray

from sparsevit_mm.checkpoints.reading import read_pickle
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
    content = fileio.get(path, backend_args)
    try:
        infos = json.loads(content) if Path(path).suffix == '.json' else read_pickle(content)
        return {'data_list': list(infos['data_list']), 'metainfo': infos.get('metainfo', {})}
    except (ValueError, pickle.UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise ConfigError(
            f'{path} is not an info file of MMDetection3D, version 2: {error}.'
        ) from None


def read_camera_matrices(path: str | Path) -> dict[str, NDArray[np.float64]]:
    """Reads the projection into every image that an info file names.

    Args:
        path: The info file.

    Returns:
        The (3, 3) or (4, 4) `cam2img` of each image, by the name of the image file.

    Raises:
        ConfigError: If the file cannot be read.
    """
    return {
        Path(image['img_path']).name: np.array(image['cam2img'], np.float64)
        for frame in read_infos(path)['data_list']
        for image in frame['images'].values()
        if image.get('img_path') and 'cam2img' in image
    }
