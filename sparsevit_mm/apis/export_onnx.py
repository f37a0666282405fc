"""Writes the model of a config as an ONNX or `torch.export` file, and compares the two."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import load_checkpoint
from torch import Tensor, nn

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import (
    build_model,
    check_checkpoint_exists,
    check_weights_fit,
    check_writable_folder,
)
from sparsevit_mm.checks.schedules import check_importance, check_schedules
from sparsevit_mm.deployment.graph import export_graph
from sparsevit_mm.deployment.onnx_file import OnnxModel, check_onnx, largest_difference, write_onnx
from sparsevit_mm.deployment.parts import PARTS, exportable
from sparsevit_mm.errors import ConfigError, SparseVitError
from sparsevit_mm.files import replace_bytes
from sparsevit_mm.profiling.inputs import check_shape, input_channels
from sparsevit_mm.pruning.prunable import find_prunable_backbone

TOLERANCE = 1e-4
"""Largest difference of an ONNX file from its model that passes."""


class ParityError(SparseVitError):
    """An ONNX file computes something else than the model it was exported from."""


@dataclass(frozen=True)
class Exported:
    """The file that was written, and what it takes and gives.

    Attributes:
        path: The file.
        difference: Largest difference from the model on noise, see `largest_difference`; None for
            a `torch.export` file.
        inputs: Shape of the noise.
        outputs: Shapes of the outputs.
    """

    path: Path
    difference: float | None
    inputs: tuple[int, ...]
    outputs: tuple[tuple[int, ...], ...]


def export_config(
    config: str,
    out: str,
    height: int,
    width: int,
    *,
    checkpoint: str | None = None,
    part: str = PARTS[0],
    batch: int = 1,
    dynamic_batch: bool = False,
    dynamic_size: bool = False,
    schedule: Any = None,
    deploy: bool = True,
    cfg_options: Mapping[str, Any] | None = None,
) -> Exported:
    """Writes the model of a config as an ONNX or a `torch.export` file, and compares it.

    Args:
        config: Path of the config.
        out: A file that ends in .onnx, or in .pt2 for `torch.export`.
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        checkpoint: Path or address of the weights; None leaves them random.
        part: One of `sparsevit_mm.deployment.parts.PARTS`.
        batch: Images at once.
        dynamic_batch: Whether the file takes any number of images.
        dynamic_size: Whether it takes images of any size (FasterViT backbones only).
        schedule: Pruning schedule in place of the config's, in any form `pruning_ratios` takes.
        deploy: Whether to use the inference form where there is one.
        cfg_options: Fields of the config to replace.

    Returns:
        What was written.

    Raises:
        SparseVitError: If something given is wrong, or the file differs from the model.
    """
    if not out.endswith(('.onnx', '.pt2')):
        raise ConfigError(f'out is {out}, but must end in .onnx or .pt2.')
    if out.endswith('.onnx'):
        check_onnx()
    check_writable_folder(Path(out).parent, 'out')
    check_shape(height, width, batch)
    model = load_model(config, checkpoint, schedule, cfg_options)
    module = inference_form(exportable(model, part), deploy)
    images = random_images(model, batch, height, width)
    program = export_graph(module, images, dynamic_batch=dynamic_batch, dynamic_size=dynamic_size)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    difference = None
    if out.endswith('.onnx'):
        write_onnx(program, out)
        written = OnnxModel(out)
        sizes = [(height, width)]
        if dynamic_size:
            sizes.append((height + 32, max(width - 8, 32)))
        difference = max(
            largest_difference(module, written, random_images(model, batch, *size))
            for size in sizes
        )
        if difference > TOLERANCE:
            raise ParityError(
                f'{out} differs from the model by {difference:.1e} on noise, but {TOLERANCE:.0e} '
                'is allowed.'
            )
    else:
        content = io.BytesIO()
        torch.export.save(program, content)
        replace_bytes(out, content.getbuffer())
    with torch.no_grad():
        outputs = module(images)
    shapes = [outputs] if isinstance(outputs, Tensor) else outputs
    return Exported(
        Path(out), difference, tuple(images.shape), tuple(tuple(t.shape) for t in shapes)
    )


def inference_form(module: nn.Module, deploy: bool) -> nn.Module:
    """Puts a module into evaluation mode and, if asked for, its parts into their inference form.

    Args:
        module: The module; it is changed.
        deploy: Whether parts that have an inference form take it.
    """
    module = revert_sync_batchnorm(module)
    module.eval()  # returns nothing in MMDetection's ResNet
    if deploy:
        switches = [m for m in module.modules() if hasattr(m, 'switch_to_deploy')]
        for owner in switches:
            owner.switch_to_deploy()  # type: ignore[operator]
    return module


def random_images(model: nn.Module, batch: int, height: int, width: int) -> Tensor:
    """Normal noise of (batch, channels, height, width), the same in every process."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, input_channels(model), height, width, generator=generator)


def load_model(
    config: str, checkpoint: str | None, schedule: Any, cfg_options: Mapping[str, Any] | None
) -> nn.Module:
    """Builds the model of a config on the CPU, with the given weights and schedule.

    Args:
        config: Path of the config.
        checkpoint: Path or address of the weights; None leaves them random.
        schedule: Pruning schedule in any form `pruning_ratios` takes; None keeps the config's.
        cfg_options: Fields of the config to replace.

    Raises:
        SparseVitError: If something given is wrong.
    """
    check_checkpoint_exists(checkpoint, 'checkpoint')
    cfg: Config = load_config(config, cfg_options)
    register_framework(cfg)
    torch.manual_seed(0)
    model = build_model(cfg)
    check_schedules(model, cfg)
    if schedule is not None:
        check_importance(schedule, cfg)
        find_prunable_backbone(model).pruning_schedule = schedule
    if checkpoint is not None:
        check_weights_fit(model, checkpoint)
        load_checkpoint(model, checkpoint, map_location='cpu')
    return model
