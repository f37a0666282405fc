"""Runs model files on the CPU with ONNX Runtime or OpenVINO; needs NumPy and one of the two."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sparsevit_mm.deployment.description import KEY
from sparsevit_mm.errors import ConfigError

RUNTIMES = ('onnxruntime', 'openvino')


class Session(Protocol):
    """A file that was opened for running.

    Attributes:
        shape: Of the images that it takes; None for a side of any size.
        dtype: Of these images.
        outputs: Names of what it returns.
        description: What the file says about itself, see `Description`; None if nothing.
    """

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    outputs: tuple[str, ...]
    description: str | None

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs for images of the right shape and type."""


def open_session(
    path: str | Path, runtime: str | None = None, threads: int | None = None
) -> Session:
    """Opens a file.

    Args:
        path: An ONNX file, or for OpenVINO also an .xml file.
        runtime: One of `RUNTIMES`; by default the first that is installed and reads the file.
        threads: Number of CPU threads; by default the runtime's choice.

    Raises:
        ConfigError: If there is no such runtime or file, or it cannot be run.
    """
    if runtime is None:
        reads = RUNTIMES[1:] if str(path).endswith('.xml') else RUNTIMES
        runtime = next((name for name in reads if find_spec(name) is not None), reads[0])
    check_runtime(runtime)
    if not Path(path).is_file():
        raise ConfigError(f'the model file {path} does not exist.')
    opened = OnnxRuntimeSession if runtime == 'onnxruntime' else OpenVinoSession
    try:
        return opened(path, threads)
    except Exception as error:  # theirs have no common base
        reason = ' '.join(str(error).split())
        raise ConfigError(f'{path} cannot be run by {runtime}: {reason}') from error


def check_runtime(runtime: str) -> None:
    """Checks that a runtime is known and installed.

    Args:
        runtime: Its name.

    Raises:
        ConfigError: If it is not.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(f'runtime is {runtime!r}, but must be one of {", ".join(RUNTIMES)}.')
    if find_spec(runtime) is None:
        raise ConfigError(
            f'{runtime} is not installed, but is what runs the file: pip install {runtime}'
        )


def run_session(session: Session, images: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Runs a batch.

    Args:
        session: From `open_session`.
        images: Of the session's shape and type.

    Returns:
        The outputs by name.

    Raises:
        ConfigError: If the images have another shape or type.
    """
    fits = len(images.shape) == len(session.shape) and all(
        wanted in (None, given) for wanted, given in zip(session.shape, images.shape)
    )
    if not fits or images.dtype != session.dtype:
        wanted = ' x '.join('any' if side is None else str(side) for side in session.shape)
        given = ' x '.join(map(str, images.shape))
        raise ConfigError(
            f'images are {given} {images.dtype}, but the file takes {wanted} {session.dtype}.'
        )
    return dict(zip(session.outputs, session.run(images)))


class OnnxRuntimeSession:
    """A file in ONNX Runtime, see `Session`.

    Attributes:
        native: ONNX Runtime's own session.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        self.native = onnxruntime.InferenceSession(
            str(path), options, providers=['CPUExecutionProvider']
        )
        (images,) = self.native.get_inputs()
        self._input = images.name
        self.shape = tuple(side if isinstance(side, int) else None for side in images.shape)
        names = {'tensor(float)': 'float32', 'tensor(uint8)': 'uint8'}
        self.dtype = np.dtype(names[images.type])
        self.outputs = tuple(output.name for output in self.native.get_outputs())
        self.description = self.native.get_modelmeta().custom_metadata_map.get(KEY)

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs for images of the right shape and type."""
        outputs: list[NDArray[Any]] = self.native.run(None, {self._input: images})
        return outputs


class OpenVinoSession:
    """A file in OpenVINO, see `Session`; computes in the file's own precision."""

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        import openvino

        core = openvino.Core()
        model = core.read_model(str(path))
        options: dict[str, Any] = {'INFERENCE_PRECISION_HINT': 'f32'}
        if threads is not None:
            options['INFERENCE_NUM_THREADS'] = threads
        self._compiled = core.compile_model(model, 'CPU', options)
        (images,) = self._compiled.inputs
        self.shape = tuple(
            side.get_length() if side.is_static else None for side in images.get_partial_shape()
        )
        self.dtype = np.dtype(images.get_element_type().to_dtype())
        self.outputs = tuple(output.get_any_name() for output in self._compiled.outputs)
        self.description = _description(model)

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs for images of the right shape and type."""
        found = self._compiled(images)
        return [found[output] for output in self._compiled.outputs]


def _description(model: Any) -> str | None:
    # OpenVINO keeps the metadata of ONNX files under 'framework'.
    for place in (['framework', KEY], [KEY]):
        if model.has_rt_info(place):
            return str(model.get_rt_info(place).astype(str))
    return None
