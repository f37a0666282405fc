"""Writes the model of a config as an ONNX or `torch.export` file, and compares the two."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import load_checkpoint
from torch import Tensor, nn

from sparsevit_mm.apis.configs import innermost_dataset, load_config, register_framework
from sparsevit_mm.apis.inference import dataset_meta
from sparsevit_mm.checks.configs import (
    build_model,
    check_checkpoint_exists,
    check_weights_fit,
    check_writable_folder,
)
from sparsevit_mm.checks.schedules import check_importance, check_schedules
from sparsevit_mm.deployment.agreement import agreement
from sparsevit_mm.deployment.describe import describe
from sparsevit_mm.deployment.description import INPUTS, Description
from sparsevit_mm.deployment.graph import export_graph
from sparsevit_mm.deployment.image_bytes import FromBytes
from sparsevit_mm.deployment.onnx_file import OnnxModel, check_onnx, largest_difference, write_onnx
from sparsevit_mm.deployment.parts import default_part, exportable
from sparsevit_mm.deployment.predictions import Predictions, predictions_of
from sparsevit_mm.errors import ConfigError, SparseVitError
from sparsevit_mm.files import replace_bytes
from sparsevit_mm.profiling.inputs import check_shape, input_channels
from sparsevit_mm.pruning.prunable import find_prunable_backbone

TOLERANCE = 1e-4
"""Largest difference of an ONNX file from its model that passes."""

FEWEST_SAME = 0.95
"""Smallest share of predictions on noise that must be the same; nearly equal scores may swap."""


class ParityError(SparseVitError):
    """An ONNX file computes something else than the model it was exported from."""


@dataclass(frozen=True)
class Exported:
    """The file that was written, and what it takes and gives.

    Attributes:
        path: The file.
        part: What of the model is in it.
        parity: How the file compares with the model on noise; None for a `torch.export` file.
        inputs: Shape of the noise.
        outputs: Shapes of the outputs.
    """

    path: Path
    part: str
    parity: str | None
    inputs: tuple[int, ...]
    outputs: tuple[tuple[int, ...], ...]


def export_config(
    config: str,
    out: str,
    height: int,
    width: int,
    *,
    checkpoint: str | None = None,
    part: str | None = None,
    input_form: str | None = None,
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
        part: One of `sparsevit_mm.deployment.parts.PARTS`; by default the predictions if they can
            be exported, else the backbone.
        input_form: One of `sparsevit_mm.deployment.description.INPUTS`; by default 'uint8' for
            predictions, else 'normalized'.
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
    elif part == 'predictions':
        raise ConfigError(f'part is predictions, but only ONNX files hold them, and out is {out}.')
    check_writable_folder(Path(out).parent, 'out')
    check_shape(height, width, batch)
    model = load_model(config, checkpoint, schedule, cfg_options)
    part = part or ('backbone' if dynamic_size else default_part(model, out))
    module, description = exported_module(
        model, part, input_form, deploy, load_config(config, cfg_options)
    )
    shape = (batch, height, width)
    images = random_images(model, *shape, as_bytes=isinstance(module, FromBytes))
    others = () if description is None else predictions_of(model).other_inputs(*shape)
    program = export_graph(
        module, images, *others, dynamic_batch=dynamic_batch, dynamic_size=dynamic_size
    )
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    parity = None
    if not out.endswith('.onnx'):
        content = io.BytesIO()
        torch.export.save(program, content)
        replace_bytes(out, content.getbuffer())
    elif description is not None:
        wrapped = predictions_of(model)
        write_onnx(program, out, wrapped.outputs, description, wrapped.inputs)
        parity = _same_predictions(module, wrapped.outputs, out, images, *others)
    else:
        write_onnx(program, out)
        sizes = [(batch, height + 32, max(width - 8, 32))] if dynamic_size else []
        parity = _same_outputs(
            module, out, [images, *(random_images(model, *size) for size in sizes)]
        )
    with torch.no_grad():
        outputs = module(images, *others)
    shapes = [outputs] if isinstance(outputs, Tensor) else outputs
    return Exported(
        Path(out), part, parity, tuple(images.shape), tuple(tuple(t.shape) for t in shapes)
    )


def exported_module(
    model: nn.Module, part: str, input_form: str | None, deploy: bool, cfg: Config
) -> tuple[nn.Module, Description | None]:
    """What of a model goes into a file, and what the file says about itself.

    Args:
        model: The model of the config; it is changed.
        part: One of `sparsevit_mm.deployment.parts.PARTS`.
        input_form: One of `sparsevit_mm.deployment.description.INPUTS`, or None for the part's own.
        deploy: Whether to use the inference form where there is one.
        cfg: The whole config.

    Returns:
        The module, and the description of predictions.

    Raises:
        ConfigError: If that much of the model cannot be exported.
    """
    if input_form is not None and input_form not in INPUTS:
        raise ConfigError(f'input is {input_form!r}, but must be one of {", ".join(INPUTS)}.')
    module = inference_form(exportable(model, part), deploy)
    description = None
    if isinstance(module, Predictions):
        input_form = input_form or 'uint8'
        pipeline = (
            innermost_dataset(cfg.test_dataloader).pipeline if 'test_dataloader' in cfg else ()
        )
        description = describe(module, pipeline, class_names(cfg), input_form)
    if input_form == 'uint8':
        module = FromBytes(module, getattr(model, 'data_preprocessor', None)).eval()
    return module, description


def class_names(cfg: Config) -> tuple[str, ...]:
    """Names of the classes of a config's test set; none if they are known only from its files."""
    if 'test_dataloader' not in cfg:
        return ()
    return tuple(dataset_meta(cfg).get('classes') or ())


def _same_predictions(module: nn.Module, names: Sequence[str], path: str, *inputs: Tensor) -> str:
    with torch.no_grad():
        expected, found = (
            {name: value.numpy() for name, value in zip(names, of(*inputs))}
            for of in (module, OnnxModel(path))
        )
    same = agreement(expected, found)
    if same.share < FEWEST_SAME:
        raise ParityError(
            f'{path} differs from the model on noise: {same}, but {FEWEST_SAME:.0%} must be.'
        )
    return f'{same} as those of the model on noise'


def _same_outputs(module: nn.Module, path: str, batches: Sequence[Tensor]) -> str:
    written = OnnxModel(path)
    difference = max(largest_difference(module, written, images) for images in batches)
    if difference > TOLERANCE:
        raise ParityError(
            f'{path} differs from the model by {difference:.1e} on noise, but {TOLERANCE:.0e} is '
            'allowed.'
        )
    return f'largest difference from the model on noise: {difference:.1e}'


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


def random_images(
    model: nn.Module, batch: int, height: int, width: int, as_bytes: bool = False
) -> Tensor:
    """Noise, the same in every process.

    Args:
        model: The model that takes it.
        batch: Number of images.
        height: In pixels.
        width: In pixels.
        as_bytes: Whether it is (batch, height, width, channels) uint8, else it is normal noise of
            (batch, channels, height, width).
    """
    generator = torch.Generator().manual_seed(0)
    channels = input_channels(model)
    if as_bytes:
        shape = (batch, height, width, channels)
        return torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    return torch.randn(batch, channels, height, width, generator=generator)


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
