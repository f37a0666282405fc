"""Wraps the exportable part of a model as a module from images to tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.classifier import ImageClassifier

PARTS = ('backbone', 'model')


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


class SegmentorLogits(nn.Module):
    """A segmentor that returns the logits of every input pixel.

    Args:
        segmentor: MMSegmentation's EncoderDecoder.
    """

    def __init__(self, segmentor: Any) -> None:
        super().__init__()
        self.segmentor = segmentor

    def forward(self, images: Tensor) -> Tensor:
        """Maps (B, C, H, W) images to (B, classes, H, W) logits."""
        features = self.segmentor.extract_feat(images)
        logits = self.segmentor.decode_head(features)
        return F.interpolate(
            logits,
            size=images.shape[2:],
            mode='bilinear',
            align_corners=self.segmentor.align_corners,
        )


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
        part: 'backbone', or 'model' for as much of the model as maps tensors to tensors.

    Returns:
        A module whose output is a tensor or a tuple of tensors.

    Raises:
        ConfigError: If the part is unknown, or the whole model cannot be exported.
    """
    if part not in PARTS:
        raise ConfigError(f'part is {part!r}, but must be one of {", ".join(PARTS)}.')
    if part == 'backbone':
        backbone = getattr(model, 'backbone', None)
        if not isinstance(backbone, nn.Module):
            raise ConfigError(f'part is backbone, but {type(model).__name__} has none.')
        return backbone
    if isinstance(model, ImageClassifier):
        return model
    if find_spec('mmseg') is not None:
        from mmseg.models import EncoderDecoder
        from mmseg.models.decode_heads.decode_head import BaseDecodeHead

        if isinstance(model, EncoderDecoder) and isinstance(model.decode_head, BaseDecodeHead):
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


def _tensors(outputs: Any) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    items: Sequence[Any] = list(outputs.values()) if isinstance(outputs, Mapping) else outputs
    return [tensor for item in items for tensor in _tensors(item)]
