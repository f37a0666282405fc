"""Measures how many images per second the network of a config computes on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.models.classifier import ImageClassifier
from sparsevit_mm.profiling.inputs import (
    check_device,
    check_shape,
    computing_in,
    input_channels,
)
from sparsevit_mm.profiling.latency import Latency, measure_latency


def measure_throughput(
    config: str,
    height: int,
    width: int,
    *,
    batch: int = 1,
    device: str | None = None,
    dtype: str = 'float32',
    deploy: bool = True,
    runs: int = 20,
    cfg_options: Mapping[str, Any] | None = None,
) -> Latency:
    """Times a classifier, or the backbone of a detector or segmentor, with random weights.

    Args:
        config: Path of the config.
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        batch: Images at once.
        device: Such as 'cpu' or 'cuda:0'; by default a GPU if there is one.
        dtype: A key of `profiling.inputs.DTYPES`; all but float32 run under autocast.
        deploy: Whether to use the inference form where there is one.
        runs: Timed runs, after 3 that are not.
        cfg_options: Fields of the config to replace.

    Returns:
        The time of a batch.

    Raises:
        SparseVitError: If something given is wrong.
    """
    check_shape(height, width, batch)
    place = check_device(device)
    computing_in(dtype, place.type)
    cfg = load_config(config, cfg_options)
    register_framework(cfg)
    model = build_model(cfg)
    network: Any = model if isinstance(model, ImageClassifier) else model.backbone
    network.to(place)
    network.eval()  # returns nothing in MMDetection's ResNet
    if deploy and hasattr(network, 'switch_to_deploy'):
        network.switch_to_deploy()
    images = torch.randn(batch, input_channels(network), height, width, device=place)
    with torch.inference_mode(), computing_in(dtype, place.type):
        return measure_latency({'network': lambda: network(images)}, runs=runs, device=place)[
            'network'
        ]
