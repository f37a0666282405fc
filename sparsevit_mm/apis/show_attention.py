"""Draws where a token of a FasterViT looks, for one image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.runner import load_checkpoint
from PIL import Image
from torch import Tensor, nn

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import (
    build_model,
    check_checkpoint_exists,
    check_weights_fit,
    check_writable_folder,
)
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.fastervit import FasterViT
from sparsevit_mm.profiling.inputs import input_channels
from sparsevit_mm.visualization.attention import draw_attention, trace_attention
from sparsevit_mm.visualization.images import read_image, write_image


def show_attention(
    image: str,
    config: str,
    checkpoint: str | None = None,
    *,
    out: str,
    place: tuple[float, float] = (0.5, 0.5),
    stage: int = 2,
    block: int = -1,
    long_side: int = 896,
    cfg_options: Mapping[str, Any] | None = None,
) -> None:
    """Draws where the token at a place of an image looks.

    Args:
        image: Path of the image.
        config: Path of the config of a model with a FasterViT.
        checkpoint: Path or address of the weights; None leaves them random.
        out: Where the drawing goes.
        place: (row, column) as shares of the image's height and width.
        stage: An attention stage, 2 or 3.
        block: Block of the stage; negative numbers count from its end.
        long_side: Pixels that the image's longer side is resized to.
        cfg_options: Fields of the config to replace.

    Raises:
        SparseVitError: If something given is wrong.
    """
    check_checkpoint_exists(checkpoint, 'checkpoint')
    check_writable_folder(Path(out).parent, 'out')
    if long_side < 32:
        raise ConfigError(f'long_side is {long_side}, but must be at least 32 pixels.')
    pixels = read_image(image)
    scale = long_side / max(pixels.shape[:2])
    size = tuple(max(round(side * scale), 1) for side in pixels.shape[1::-1])
    resized = Image.fromarray(pixels).resize((size[0], size[1]), Image.Resampling.BICUBIC)
    pixels = np.asarray(resized)
    cfg = load_config(config, cfg_options)
    register_framework(cfg)
    model = build_model(cfg).eval()
    backbones = [part for part in model.modules() if isinstance(part, FasterViT)]
    if len(backbones) != 1:
        raise ConfigError(
            f'the config {config} has {len(backbones)} FasterViT backbones, but exactly one is '
            'needed to draw its attention.'
        )
    if checkpoint is not None:
        check_weights_fit(model, checkpoint)
        load_checkpoint(model, checkpoint, map_location='cpu')
    else:
        backbones[0].init_cfg = None
        backbones[0].init_weights()
    channels = input_channels(model)
    if channels not in (1, 3):
        raise ConfigError(
            f'the network of {config} takes images of {channels} channels, but attention can be '
            'drawn for gray and color images only.'
        )
    attention = trace_attention(backbones[0], _normalized(model, pixels), place, stage, block)
    write_image(out, draw_attention(pixels, attention, random_weights=checkpoint is None))


def _normalized(model: nn.Module, image: np.ndarray) -> Tensor:
    """The image as the model's preprocessor would hand it on: (1, C, H, W), gray or color."""
    pixels = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)
    if input_channels(model) == 1:
        weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
        pixels = (weights * pixels).sum(0, keepdim=True)
    preprocessor: Any = getattr(model, 'data_preprocessor', None)
    mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
    if mean is not None and std is not None:
        # Statistics are in the order of the network's input; images here are RGB.
        is_rgb = getattr(preprocessor, '_channel_conversion', True)
        pixels = ((pixels if is_rgb else pixels.flip(0)) - mean.cpu()) / std.cpu()
    return pixels[None]
