"""Image loading for monocular 3D detectors that refuses broken files. Needs MMDetection3D."""

from __future__ import annotations

from mmdet3d.datasets.transforms import LoadImageFromFileMono3D

from sparsevit_mm.checks.images import CheckedLoading
from sparsevit_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadCheckedMono3DImage(CheckedLoading, LoadImageFromFileMono3D):
    """MMDetection3D's `LoadImageFromFileMono3D` with a check of every file.

    A broken or truncated image stops the run with an error that names the file.
    """
