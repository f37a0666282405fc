"""MMDetection3D's infos files (version 2), and which info a data sample came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from mmengine.fileio import load

from sparsevit_mm.errors import DataError


@dataclass(frozen=True)
class Place:
    """Where a data set says that a sample stands.

    Attributes:
        number: `sample_idx`; data sets count their samples, whatever number an info has.
        img_path: The image's path, one for each camera, or None where it is not known.
    """

    number: int
    img_path: Any

    @classmethod
    def of(cls, sample: Mapping[str, Any]) -> Place:
        """Place of a data sample."""
        return cls(int(sample['sample_idx']), sample.get('img_path'))


class Infos:
    """An infos file, read as samples.

    Args:
        path: The file.
        by_image: Whether each image is a sample, or each frame.
        backend_args: How the file is read.

    Attributes:
        names: Classes by the numbers in the infos.
    """

    def __init__(
        self, path: str, by_image: bool = False, backend_args: dict[str, Any] | None = None
    ) -> None:
        content = load(path, backend_args=backend_args)
        self._path = path
        self._samples = [
            (info, camera)
            for info in content['data_list']
            for camera in (info['images'] if by_image else (None,))
        ]
        self.names: dict[int, str] = {
            label: name for name, label in content['metainfo']['categories'].items()
        }

    def at(self, place: Place) -> tuple[dict[str, Any], Any]:
        """The info of a sample, and the name of its camera where each image is a sample.

        Raises:
            DataError: If there is none at this place, or that of another image.
        """
        if place.number < len(self._samples):
            info, camera = self._samples[place.number]
            if _shows(info, camera, place.img_path):
                return info, camera
        raise DataError(
            f'The data sample with sample_idx {place.number} and img_path {place.img_path!r} is '
            f'not at its place in {self._path}; the data set must read this file whole, in order.'
        )


def _shows(info: Mapping[str, Any], camera: str | None, img_path: Any) -> bool:
    """Whether all of a sample's images are an info's, as far as that is known."""
    known = {
        PurePath(image['img_path']).name
        for name, image in info.get('images', {}).items()
        if camera in (None, name) and isinstance(image, dict) and 'img_path' in image
    }
    if img_path is None or not known:
        return True
    own = (img_path,) if isinstance(img_path, str) else img_path
    return all(PurePath(path).name in known for path in own)
