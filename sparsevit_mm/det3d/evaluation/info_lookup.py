"""Finds the annotations that belong to a data sample in an info file of MMDetection3D."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from sparsevit_mm.det3d.datasets.infos import read_infos
from sparsevit_mm.errors import DataError
from sparsevit_mm.files import ends_with


@dataclass(frozen=True)
class SampleId:
    """What identifies a data sample.

    Attributes:
        index: `sample_idx`: its index in the data set, whatever index its info has.
        img_path: The path of its image, or a list with one path for each camera; None if unknown.
    """

    index: int
    img_path: Any

    @classmethod
    def of(cls, sample: Mapping[str, Any]) -> SampleId:
        """Reads it from a data sample."""
        return cls(int(sample['sample_idx']), sample.get('img_path'))


class InfoLookup:
    """The annotations of an info file by data sample.

    Args:
        path: An info file of version 2.
        by_image: Whether every image is a data sample, or every frame.
        backend_args: mmengine's file backend; None reads from the disk.
        is_whole: Whether the data set has every sample of the file, in order. Otherwise samples are
            found by the names of their images.

    Attributes:
        class_names: Class names by the labels that the file uses.

    Raises:
        ConfigError: If the file cannot be read.
        DataError: If the file does not name its categories.
    """

    def __init__(
        self,
        path: str,
        by_image: bool = False,
        backend_args: dict[str, Any] | None = None,
        is_whole: bool = True,
    ) -> None:
        content = read_infos(path, backend_args)
        if 'categories' not in content['metainfo']:
            raise DataError(f'{path} has no categories in its metainfo, but must name every class.')
        self._path = path
        self._samples = [
            (info, camera)
            for info in content['data_list']
            for camera in (info.get('images', ()) if by_image else (None,))
        ]
        self._is_whole = is_whole
        self._by_name: dict[str, list[tuple[PurePath, int]]] = {}
        for number, (info, camera) in enumerate(self._samples):
            for path_of_image in _image_paths(info, camera):
                known = self._by_name.setdefault(path_of_image.name, [])
                known.append((path_of_image, number))
        self.class_names: dict[int, str] = {
            label: name for name, label in content['metainfo']['categories'].items()
        }

    def find(self, sample: SampleId) -> tuple[dict[str, Any], str | None]:
        """Returns the info of a sample, and the name of its camera if every image is a sample.

        Raises:
            DataError: If the file has no such sample, or one of another image at its place.
        """
        if not self._is_whole:
            return self._find_by_name(sample)
        if sample.index < len(self._samples):
            info, camera = self._samples[sample.index]
            if _shows(info, camera, sample.img_path):
                return info, camera
        raise DataError(
            f'The data sample with sample_idx {sample.index} and img_path {sample.img_path!r} is '
            f'not at its place in {self._path}; the data set must read this file whole, in order.'
        )

    def _find_by_name(self, sample: SampleId) -> tuple[dict[str, Any], str | None]:
        of_each = [
            {number for end, number in self._by_name.get(path.name, ()) if ends_with(path, end)}
            for path in _paths(sample.img_path)
        ]
        found = set.intersection(*of_each) if of_each else set()
        if len(found) == 1:
            return self._samples[found.pop()]
        raise DataError(
            f'{len(found)} samples of {self._path} have the images {sample.img_path!r} of a data '
            'sample, but a part of a data set needs exactly one.'
        )


def _paths(img_path: Any) -> list[PurePath]:
    """Paths of the images of a sample."""
    paths = [] if img_path is None else [img_path] if isinstance(img_path, str) else img_path
    return [PurePath(path) for path in paths]


def _image_paths(info: Mapping[str, Any], camera: str | None) -> list[PurePath]:
    """Paths of the images that an info names, of one camera or of all."""
    return [
        PurePath(image['img_path'])
        for name, image in info.get('images', {}).items()
        if camera in (None, name) and isinstance(image, dict)
        if isinstance(image.get('img_path'), str)
    ]


def _shows(info: Mapping[str, Any], camera: str | None, img_path: Any) -> bool:
    """Whether an info has all images of a sample, or either side does not name its images."""
    known = {path.name for path in _image_paths(info, camera)}
    return not known or all(path.name in known for path in _paths(img_path))
