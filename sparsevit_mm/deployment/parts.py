"""Wraps the exportable part of a model as a module from images to tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from torch import Tensor, nn

from sparsevit_mm.deployment.predictions import (
    SegmentorLogits,
    is_dense_segmentor,
    predictions_of,
)
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.classifier import ImageClassifier

PARTS = ('predictions', 'model', 'backbone')


class FlatOutputs(nn.Module):
    """Flattens the nested outputs of a module to one tuple of tensors.

    Args:
        module: The module.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """All tensors of the module's output, in order."""
        return tuple(_tensors(self.module(images)))


class DenseDetections(nn.Module):
    """A detector that returns the raw predictions of its dense head on every feature map.

    For a two-stage detector, the dense head is that of the proposals, and the feature maps that the
    second stage reads are returned first.

    Args:
        detector: MMDetection's single-stage or two-stage detector.
    """

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector = detector
        self.has_proposals = hasattr(detector, 'rpn_head')

    def forward(self, images: Tensor) -> Any:
        """Maps (B, C, H, W) images to feature maps, if two-stage, and raw predictions."""
        features = self.detector.extract_feat(images)
        if self.has_proposals:
            return features, self.detector.rpn_head(features)
        return self.detector.bbox_head(features)


def exportable(model: nn.Module, part: str) -> nn.Module:
    """Returns the part of a model that is exported.

    Args:
        model: The model of a config.
        part: 'predictions' for all of it; 'model' for the network without what follows it, such as
            NMS; 'backbone'.

    Returns:
        A module whose output is a tensor or a tuple of tensors.

    Raises:
        ConfigError: If the part is unknown, or that much of the model cannot be exported.
    """
    if part not in PARTS:
        raise ConfigError(f'part is {part!r}, but must be one of {", ".join(PARTS)}.')
    if part == 'predictions':
        return predictions_of(model)
    if part == 'backbone':
        backbone = getattr(model, 'backbone', None)
        if not isinstance(backbone, nn.Module):
            raise ConfigError(f'part is backbone, but {type(model).__name__} has none.')
        return backbone
    if isinstance(model, ImageClassifier):
        return model
    if is_dense_segmentor(model):
        return SegmentorLogits(model)
    if find_spec('mmdet') is not None:
        from mmdet.models import SingleStageDetector, TwoStageDetector

        # Query-based detectors are excluded: their heads need data samples and custom operators.
        if isinstance(model, TwoStageDetector) or type(model).__mro__[1] is SingleStageDetector:
            return FlatOutputs(DenseDetections(model))
    raise ConfigError(
        f'part is model, but of {type(model).__name__} only the backbone can be exported: what '
        "comes after it does not map tensors to tensors. Use part='backbone'."
    )


def default_part(model: nn.Module, path: str) -> str:
    """What is exported where nothing is said: the predictions if they can be, else the backbone.

    Args:
        model: The model of a config.
        path: The file; only ONNX files hold predictions.
    """
    if path.endswith('.onnx'):
        with contextlib.suppress(ConfigError):
            predictions_of(model)
            return 'predictions'
    return 'backbone'


def _tensors(outputs: Any) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    items: Sequence[Any] = list(outputs.values()) if isinstance(outputs, Mapping) else outputs
    return [tensor for item in items for tensor in _tensors(item)]
