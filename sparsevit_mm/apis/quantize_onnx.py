"""Quantizes a file with predictions to int8, calibrated on images of the config's data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.test_onnx import first_training_images
from sparsevit_mm.checks.configs import check_writable_folder
from sparsevit_mm.deployment.int8 import quantize_for_onnxruntime, quantize_for_openvino
from sparsevit_mm.deployment.onnx_detector import OnnxDetector
from sparsevit_mm.deployment.runtimes import RUNTIMES, check_runtime
from sparsevit_mm.errors import ConfigError


def quantize_file(
    config: str,
    path: str,
    out: str,
    *,
    runtime: str = RUNTIMES[0],
    images: int = 64,
    cfg_options: Mapping[str, Any] | None = None,
) -> int:
    """Writes an int8 copy of a file, calibrated on the first images of the config's training set.

    Args:
        config: Path of the config.
        path: The ONNX file, written with predictions.
        out: The int8 file; ends in .xml for OpenVINO, else in .onnx.
        runtime: One of `sparsevit_mm.deployment.runtimes.RUNTIMES`, whose tools are used.
        images: How many images to calibrate with.
        cfg_options: Fields of the config to replace.

    Returns:
        How many images it was calibrated with.

    Raises:
        SparseVitError: If something given is wrong or a package is missing.
    """
    check_runtime(runtime)
    if images < 1:
        raise ConfigError(f'images is {images}, but must be positive.')
    check_writable_folder(Path(out).parent, 'out')
    detector = OnnxDetector(path, runtime)
    if detector.description.task == 'detection_3d':
        raise ConfigError(
            f'{path} finds 3D boxes, but int8 is for files that take images alone: their cameras '
            'would have to be calibrated with, too.'
        )
    cfg = load_config(config, cfg_options)
    register_framework(cfg)
    names = list(first_training_images(cfg, images))
    quantize = quantize_for_onnxruntime if runtime == 'onnxruntime' else quantize_for_openvino
    quantize(path, out, (detector.enter(detector.read(name))[0] for name in names))
    return len(names)
