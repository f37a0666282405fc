"""Runs model files on the CPU with ONNX Runtime or OpenVINO; needs NumPy and one of the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sparsevit_mm.deployment.description import KEY
from sparsevit_mm.errors import ConfigError

RUNTIMES = ('onnxruntime', 'openvino')


@dataclass(frozen=True)
class Input:
    """What a file takes.

    Attributes:
        name: Its name, such as 'images'.
        shape: Its shape; None for a side of any size.
        dtype: Its type.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


class Session(Protocol):
    """A file that was opened for running.

    Attributes:
        inputs: What it takes; the first are images.
        outputs: Names of what it returns.
        description: What the file says about itself, see `Description`; None if nothing.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    description: str | None

    def run(self, values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs for inputs of the right shapes and types."""


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


def run_session(session: Session, *values: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Runs a batch.

    Args:
        session: From `open_session`.
        *values: What the file takes, in the order of `session.inputs`: images first.

    Returns:
        The outputs by name.

    Raises:
        ConfigError: If one is missing, or has another shape or type.
    """
    if len(values) != len(session.inputs):
        names = ', '.join(each.name for each in session.inputs)
        raise ConfigError(f'{len(values)} inputs are given, but the file takes {names}.')
    for wanted, value in zip(session.inputs, values):
        fits = len(value.shape) == len(wanted.shape) and all(
            side in (None, given) for side, given in zip(wanted.shape, value.shape)
        )
        if not fits or value.dtype != wanted.dtype:
            shape = ' x '.join('any' if side is None else str(side) for side in wanted.shape)
            given = ' x '.join(map(str, value.shape))
            raise ConfigError(
                f'{wanted.name} are {given} {value.dtype}, but the file takes {shape} '
                f'{wanted.dtype}.'
            )
    return dict(zip(session.outputs, session.run(values)))


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
        names = {'tensor(float)': 'float32', 'tensor(double)': 'float64', 'tensor(uint8)': 'uint8'}
        self.inputs = tuple(
            Input(
                taken.name,
                tuple(side if isinstance(side, int) else None for side in taken.shape),
                np.dtype(names[taken.type]),
            )
            for taken in self.native.get_inputs()
        )
        self.outputs = tuple(output.name for output in self.native.get_outputs())
        self.description = self.native.get_modelmeta().custom_metadata_map.get(KEY)

    def run(self, values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs for inputs of the right shapes and types."""
        named = {taken.name: value for taken, value in zip(self.inputs, values)}
        outputs: list[NDArray[Any]] = self.native.run(None, named)
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
        self.inputs = tuple(
            Input(
                taken.get_any_name(),
                tuple(
                    side.get_length() if side.is_static else None
                    for side in taken.get_partial_shape()
                ),
                np.dtype(taken.get_element_type().to_dtype()),
            )
            for taken in self._compiled.inputs
        )
        self.outputs = tuple(output.get_any_name() for output in self._compiled.outputs)
        self.description = _description(model)

    def run(self, values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs for inputs of the right shapes and types."""
        found = self._compiled(list(values))
        return [found[output] for output in self._compiled.outputs]


def _description(model: Any) -> str | None:
    # OpenVINO keeps the metadata of ONNX files under 'framework'.
    for place in (['framework', KEY], [KEY]):
        if model.has_rt_info(place):
            return str(model.get_rt_info(place).astype(str))
    return None
