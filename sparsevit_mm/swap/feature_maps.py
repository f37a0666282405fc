"""Finds the channels and strides of a backbone's output maps by building and running it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.profiling.inputs import input_channels

_SIDE = 128
_FETCHED = ('pretrained', 'init_cfg')
_known: dict[str, Maps] = {}


@dataclass(frozen=True)
class Maps:
    """What goes into a backbone and what comes out.

    Attributes:
        in_channels: Channels of the images.
        outputs: The output maps in order.
    """

    in_channels: int
    outputs: tuple[FeatureMap, ...]


@dataclass(frozen=True)
class FeatureMap:
    """One output map of a backbone.

    Attributes:
        channels: Channels.
        stride: Side of the image area, in pixels, that one cell of the map stands for.
    """

    channels: int
    stride: int


def feature_maps(backbone: Mapping[str, Any], scope: str | None) -> Maps:
    """Builds a backbone with random weights and runs it once on a small image.

    Args:
        backbone: Config of the backbone.
        scope: Scope of the framework in which its type is registered.

    Returns:
        Channels of its images, and its output maps.

    Raises:
        ConfigError: If it cannot be built or run, or its outputs are not NCHW maps.
    """
    cfg = {key: value for key, value in deepcopy(dict(backbone)).items() if key not in _FETCHED}
    key = json.dumps([scope, cfg], default=str, sort_keys=True)
    if key not in _known:
        _known[key] = _run(cfg, scope)
    return _known[key]


@torch.no_grad()
def _run(cfg: dict[str, Any], scope: str | None) -> Maps:
    side = cfg.get('img_size', _SIDE)
    height, width = (side, side) if isinstance(side, int) else tuple(side)[-2:]
    try:
        with DefaultScope.overwrite_default_scope(scope):
            network: nn.Module = MODELS.build(cfg)
        network.train(False)
        in_channels = input_channels(network)
        outputs = network(torch.zeros(1, in_channels, height, width))
    except Exception as error:  # whatever a framework's backbone raises
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f'the backbone {cfg.get("type")} cannot be looked at, because it cannot be built and '
            f'run here: {reason[:200]}.'
        ) from error
    if isinstance(outputs, Tensor):
        outputs = (outputs,)
    if not isinstance(outputs, (tuple, list)) or not all(
        isinstance(output, Tensor) and output.ndim == 4 for output in outputs
    ):
        raise ConfigError(
            f'the outputs of the backbone {cfg.get("type")} must be NCHW maps, but are not.'
        )
    found = (FeatureMap(o.shape[1], round(height / o.shape[2])) for o in outputs)
    return Maps(in_channels, tuple(found))
