"""Loads images as the frameworks do, but stops with one sentence at a broken file.

The frameworks fill the missing part of a truncated image with gray and train on it, accept NaN, and
end in an assertion of a worker for other broken files.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from PIL import UnidentifiedImageError

from sparsevit_mm.checks.configs import type_name, typed_configs
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.registry import TRANSFORMS

CHECKED_LOADING = {
    'LoadImageFromFile': 'sparsevit_mm.LoadCheckedImage',
    'LoadImageFromFileMono3D': 'sparsevit_mm.LoadCheckedMono3DImage',
}
"""Loading steps of the frameworks, and the checked steps that replace them."""


def check_complete(path: str | Path) -> None:
    """Checks that an image file exists and is neither empty nor truncated.

    Args:
        path: The file.

    Raises:
        ConfigError: If it does not, or is.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f'the image {path} cannot be read: {error.strerror}.') from None
    if not content:
        raise ConfigError(f'the image {path} cannot be read: it is empty.')
    if _lacks_end(content):
        raise ConfigError(f'the image {path} cannot be read: its end is missing.')


def _lacks_end(content: bytes) -> bool:
    """Whether a JPEG or PNG file stops before its end marker; anything may follow that."""
    if content.startswith(b'\x89PNG'):
        pixels = content.find(b'IDAT')
        return pixels < 0 or content.find(b'IEND', pixels) < 0
    if content.startswith(b'\xff\xd8'):
        return content.find(b'\xff\xd9', _first_scan(content)) < 0
    return False


def _first_scan(content: bytes) -> int:
    """Where the pixels of a JPEG begin, behind its header, which may hold a whole thumbnail."""
    place = 2
    while content[place : place + 1] == b'\xff':
        marker = content[place + 1 : place + 2]
        if marker == b'\xda':
            return place
        if marker == b'\xff':  # padding
            place += 1
        else:
            place += 2 + int.from_bytes(content[place + 2 : place + 4], 'big')
    return place


class CheckedLoading:
    """Adds checks to the `transform` of a loading step (a mixin)."""

    backend_args: Any

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Loads the image.

        Raises:
            ConfigError: If the file is missing, empty, truncated or no image, or if pixels are NaN.
        """
        path = _path(results)
        if self.backend_args is None:  # reading twice from elsewhere would cost too much
            check_complete(path)
        try:
            results = super().transform(results)  # type: ignore[misc]
        except (AssertionError, AttributeError, UnidentifiedImageError, cv2.error):
            raise ConfigError(f'the image {path} cannot be read: it is not an image.') from None
        image = results['img']
        if image.dtype.kind == 'f' and not np.isfinite(image).all():
            raise ConfigError(f'the image {path} has pixels that are not finite numbers.')
        return results


@TRANSFORMS.register_module()
class LoadCheckedImage(CheckedLoading, LoadImageFromFile):
    """mmcv's `LoadImageFromFile`, which reports a broken image in one sentence."""


def use_checked_loading(cfg: Config) -> None:
    """Replaces the loading steps in every pipeline of a config by those that check images.

    Args:
        cfg: The config, which is modified; its framework must be registered.
    """
    if cfg.get('default_scope') == 'mmdet3d':
        import_module('sparsevit_mm.det3d.datasets.checked_loading')
    for _, step in typed_configs(cfg._cfg_dict):
        kind = type_name(step)
        if kind in CHECKED_LOADING and not step.get('ignore_empty'):
            step['type'] = CHECKED_LOADING[kind]


def _path(results: Mapping[str, Any]) -> str:
    if 'img_path' in results:
        return str(results['img_path'])
    images = results['images']
    camera = 'CAM2' if 'CAM2' in images else next(iter(images))
    return str(images[camera]['img_path'])
