"""Throughput of the network of a config on the machine at hand."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.classifier import ImageClassifier
from sparsevit_mm.profiling.latency import Latency, measure_latency

DTYPES = {'float32': torch.float32, 'float16': torch.float16, 'bfloat16': torch.bfloat16}


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
        dtype: A key of `DTYPES`; other than float32 runs under autocast.
        deploy: Whether to use the inference form where there is one.
        runs: Timed runs, after 3 that are not.
        cfg_options: Fields of the config to replace.

    Returns:
        The time of a batch.

    Raises:
        SparseVitError: If something given is wrong.
    """
    if dtype not in DTYPES:
        raise ConfigError(f'dtype is {dtype!r}, but it must be one of {", ".join(DTYPES)}.')
    if min(height, width, batch) < 1:
        raise ConfigError(f'the input is {batch} x {height} x {width}, but all must be positive.')
    cfg = load_config(config, cfg_options)
    register_framework(cfg)
    model = build_model(cfg)
    network: Any = model if isinstance(model, ImageClassifier) else model.backbone
    place = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    network = network.to(place).eval()
    if deploy and hasattr(network, 'switch_to_deploy'):
        network.switch_to_deploy()
    images = torch.randn(batch, 3, height, width, device=place)
    mixed: Any = nullcontext() if dtype == 'float32' else torch.autocast(place.type, DTYPES[dtype])
    with torch.inference_mode(), mixed:
        return measure_latency({'network': lambda: network(images)}, runs=runs, device=place)[
            'network'
        ]
