"""Writes a graph as an ONNX file, runs it with ONNX Runtime and compares it with the model."""

from __future__ import annotations

import contextlib
import logging
import re
import shlex
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sparsevit_mm.deployment.description import KEY, Description
from sparsevit_mm.deployment.onnx_operators import onnx_forms
from sparsevit_mm.deployment.runtimes import RUNTIMES, open_session, run_session
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import written_whole
from sparsevit_mm.ops.compat import plain_attention
from sparsevit_mm.versions import ONNX

if TYPE_CHECKING:
    from torch.export import ExportedProgram

INPUT = 'images'
OPSET = 18
"""The lowest version that torch's exporter writes natively, supported by most runtimes."""


def check_onnx() -> None:
    """Checks that the packages that write and run ONNX files are installed.

    Raises:
        ConfigError: If one is missing.
    """
    missing = [name for name in ('onnx', 'onnxscript', 'onnxruntime') if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f'{missing[0]} is not installed, but ONNX files need it: pip install {shlex.join(ONNX)}'
        )


def write_onnx(
    program: ExportedProgram,
    path: str | Path,
    outputs: Sequence[str] | None = None,
    description: Description | None = None,
    inputs: Sequence[str] = (INPUT,),
) -> None:
    """Writes a graph as an ONNX file.

    Args:
        program: Returned by `export_graph`.
        path: The file; weights above 2 GiB go into a second file beside it.
        outputs: Names of the outputs.
        description: What the file says about itself.
        inputs: Names of the inputs.

    Raises:
        ConfigError: If a package is missing.
    """
    check_onnx()
    with _quiet(), plain_attention():
        written = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            verbose=False,
            custom_translation_table=onnx_forms(),
        )
        assert written is not None
        _name_sides(written.model.graph)
        if description is not None:
            written.model.metadata_props[KEY] = description.to_json()
        with written_whole(path) as file:
            written.save(str(file))


class OnnxModel:
    """Runs an ONNX file on tensors.

    Args:
        path: The file.
        threads: Number of CPU threads; by default that of torch.
        runtime: One of `sparsevit_mm.deployment.runtimes.RUNTIMES`.

    Raises:
        ConfigError: If a package is missing or the file cannot be read.
    """

    def __init__(
        self, path: str | Path, threads: int | None = None, runtime: str = RUNTIMES[0]
    ) -> None:
        self.session = open_session(path, runtime, threads or torch.get_num_threads())

    def __call__(self, images: Tensor, *others: Tensor) -> list[Tensor]:
        """Runs a batch.

        Args:
            images: (B, C, H, W), or what else the file takes, on the CPU.
            *others: What the file takes besides.

        Returns:
            The outputs.

        Raises:
            ConfigError: If the file does not take images of this shape or type.
        """
        outputs = run_session(self.session, *(value.numpy() for value in (images, *others)))
        return [torch.from_numpy(output) for output in outputs.values()]


@torch.no_grad()
def largest_difference(model: nn.Module, onnx_model: OnnxModel, images: Tensor) -> float:
    """Compares an ONNX file with the model it was made from.

    Args:
        model: The model in evaluation mode.
        onnx_model: The file.
        images: (B, C, H, W).

    Returns:
        The largest absolute difference between outputs, divided by the largest absolute value of
        that output where this is above 1.

    Raises:
        ConfigError: If the outputs differ in number or shape.
    """
    expected = model(images)
    expected = [expected] if isinstance(expected, Tensor) else list(expected)
    found = onnx_model(images)
    if [tuple(t.shape) for t in found] != [tuple(t.shape) for t in expected]:
        raise ConfigError(
            f'outputs of the ONNX file have shapes {[tuple(t.shape) for t in found]}, but must '
            f'have those of the model, {[tuple(t.shape) for t in expected]}.'
        )
    return max(
        float((ours - theirs).abs().max()) / max(1.0, float(theirs.abs().max()))
        for ours, theirs in zip(found, expected)
    )


def _name_sides(graph: Any) -> None:
    """Names the dynamic dimensions of inputs and outputs, such as `height`."""
    sides = graph.inputs[0].shape
    names = {
        str(side.value): name
        for side, name in zip(sides, ('batch', 'channels', 'height', 'width'))
        if not isinstance(side, int)
    }
    for value in (*graph.inputs, *graph.outputs):
        for axis, side in enumerate(value.shape):
            if not isinstance(side, int):
                text = str(side.value)
                for symbol, name in names.items():
                    text = re.sub(rf'\b{symbol}\b', name, text)
                value.shape[axis] = text


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter's messages about torchvision and its own progress."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
