"""Times ONNX files of several pruning schedules of one model side by side on the CPU."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparsevit_mm.apis.configs import load_config
from sparsevit_mm.apis.export_onnx import exported_module, load_model, random_images
from sparsevit_mm.checks.configs import check_writable_folder
from sparsevit_mm.deployment.graph import export_graph
from sparsevit_mm.deployment.image_bytes import FromBytes
from sparsevit_mm.deployment.onnx_file import INPUT, OnnxModel, check_onnx, write_onnx
from sparsevit_mm.deployment.parts import default_part
from sparsevit_mm.deployment.predictions import predictions_of
from sparsevit_mm.deployment.runtimes import RUNTIMES, check_runtime
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import replace_text
from sparsevit_mm.profiling.inputs import check_shape
from sparsevit_mm.profiling.latency import Latency, measure_latency


def benchmark_config(
    config: str,
    height: int,
    width: int,
    *,
    schedules: Mapping[str, Any],
    checkpoint: str | None = None,
    part: str | None = None,
    batch: int = 1,
    runs: int = 20,
    runtimes: Sequence[str] = RUNTIMES[:1],
    with_torch: bool = False,
    out: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> dict[str, Latency]:
    """Times ONNX files of several schedules side by side on the CPU.

    Args:
        config: Path of the config.
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        schedules: Pruning schedules by name, in any form `pruning_ratios` takes; the first is what
            the others are compared with.
        checkpoint: Path or address of the weights; None leaves them random.
        part: One of `sparsevit_mm.deployment.parts.PARTS`; None as for `export_config`.
        batch: Images at once.
        runs: Timed rounds.
        runtimes: Of `sparsevit_mm.deployment.runtimes.RUNTIMES`, what runs the files.
        with_torch: Whether the models themselves, on torch, take turns with the files.
        out: JSON file for the figures.
        cfg_options: Fields of the config to replace.

    Returns:
        The time of a batch of each: of every runtime the schedules by name, and of `torch`.

    Raises:
        SparseVitError: If something given is wrong.
    """
    check_onnx()
    if out is not None:
        check_writable_folder(Path(out).parent, 'out')
    check_shape(height, width, batch)
    if runs < 1:
        raise ConfigError(f'runs is {runs}, but must be positive.')
    for runtime in runtimes:
        check_runtime(runtime)
    candidates: dict[str, Callable[[], Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, schedule) in enumerate(schedules.items()):
            model = load_model(config, checkpoint, schedule, cfg_options)
            path = Path(folder) / f'{number}.onnx'
            given = part or default_part(model, str(path))
            cfg = load_config(config, cfg_options)
            module, description = exported_module(model, given, None, deploy=True, cfg=cfg)
            images = random_images(
                model, batch, height, width, as_bytes=isinstance(module, FromBytes)
            )
            others: tuple[Tensor, ...] = ()
            names: Sequence[str] = (INPUT,)
            if description is not None:
                wrapped = predictions_of(model)
                others, names = wrapped.other_inputs(batch, height, width), wrapped.inputs
            program = export_graph(module, images, *others)
            write_onnx(program, path, None, description, names)
            if with_torch:
                candidates[f'{name}, torch'] = partial(module, images, *others)
            for runtime in runtimes:
                written = OnnxModel(path, runtime=runtime)
                candidates[f'{name}, {runtime}'] = partial(written, images, *others)
        with torch.inference_mode():
            timed = measure_latency(candidates, runs=runs, device='cpu')
    if out is not None:
        data = {
            'config': config,
            'part': given,
            'shape': [batch, height, width],
            'threads': torch.get_num_threads(),
            'milliseconds': {name: list(latency.runs) for name, latency in timed.items()},
        }
        replace_text(out, json.dumps(data, indent=2) + '\n')
    return timed
