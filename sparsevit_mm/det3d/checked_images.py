"""Checked loading of the images of monocular 3D detectors: what needs MMDetection3D."""

from __future__ import annotations

from mmdet3d.datasets.transforms import LoadImageFromFileMono3D

from sparsevit_mm.checks.images import CheckedLoading
from sparsevit_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadCheckedMono3DImage(CheckedLoading, LoadImageFromFileMono3D):
    """MMDetection3D's `LoadImageFromFileMono3D`, which refuses a broken image in a sentence."""
