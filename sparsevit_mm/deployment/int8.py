"""Quantizes files with predictions to int8 after training, with the tools of their runtimes.

Convolutions and matrix products are computed in int8. All else stays in float: the ranking of
windows, norms, softmax, the decoding of boxes and NMS.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsevit_mm.deployment.description import KEY
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import written_whole

QUANTIZED = ('Conv', 'MatMul', 'Gemm')
"""Operators of ONNX that are computed in int8."""

KEPT_IN_FLOAT = (
    'ConvolutionBackpropData',
    'MVN', 'TopK', 'ReduceL2', 'ReduceSum', 'ReduceMean', 'ReduceMax', 'Sqrt', 'Power', 'SoftMax',
    'Softmax', 'Interpolate', 'NonMaxSuppression', 'ROIAlign', 'ScatterNDUpdate', 'Gather',
    'GatherND', 'Exp', 'Sigmoid', 'Divide', 'Maximum', 'Minimum', 'Clamp', 'Select', 'Add',
    'Subtract', 'Multiply',
)  # fmt: skip
"""Operators of OpenVINO that stay in float: ranking, norms, and what follows the network."""


def quantize_for_onnxruntime(path: str, out: str, batches: Iterable[NDArray[Any]]) -> None:
    """Writes an int8 copy of an ONNX file for ONNX Runtime.

    Args:
        path: The file.
        out: The int8 file.
        batches: What the file takes, from images that are like those of use.

    Raises:
        ConfigError: If a package is missing or the file cannot be quantized.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    reader = _Batches(onnx.load(path).graph.input[0].name, batches)
    with tempfile.TemporaryDirectory() as folder, written_whole(out) as file:
        prepared = Path(folder) / 'prepared.onnx'
        # Symbolic shape inference of ONNX Runtime stops at NonMaxSuppression.
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            file,
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        quantized = onnx.load(file)
        known = {entry.key for entry in quantized.metadata_props}
        for entry in onnx.load(path).metadata_props:
            if entry.key not in known:
                quantized.metadata_props.append(entry)
        onnx.save(quantized, file)


def quantize_for_openvino(path: str, out: str, batches: Iterable[NDArray[Any]]) -> None:
    """Writes an int8 copy of an ONNX file for OpenVINO: an .xml file and a .bin file beside it.

    Args:
        path: The file.
        out: The int8 file, which ends in .xml.
        batches: What the file takes, from images that are like those of use.

    Raises:
        ConfigError: If a package is missing or `out` does not end in .xml.
    """
    if not out.endswith('.xml'):
        raise ConfigError(f'out is {out}, but for OpenVINO must end in .xml.')
    for package in ('openvino', 'nncf'):
        if find_spec(package) is None:
            raise ConfigError(f'{package} is not installed, but is needed: pip install {package}')
    import nncf
    import openvino

    logging.getLogger('nncf').setLevel(logging.ERROR)
    model = openvino.Core().read_model(path)
    samples = list(batches)
    quantized = nncf.quantize(
        model,
        nncf.Dataset(samples),
        subset_size=len(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(types=list(KEPT_IN_FLOAT), validate=False),
    )
    if model.has_rt_info(['framework', KEY]):
        quantized.set_rt_info(model.get_rt_info(['framework', KEY]).astype(str), [KEY])
    with written_whole(out) as file:
        openvino.save_model(quantized, str(file), compress_to_fp16=False)


class _Batches:
    """Hands out batches, as ONNX Runtime's calibration asks for them."""

    def __init__(self, name: str, batches: Iterable[NDArray[Any]]) -> None:
        self._name, self._batches = name, iter(batches)

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        """The next batch by the name of the input, None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}
