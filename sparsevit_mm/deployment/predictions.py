"""Wraps a whole model as a module from images to predictions, with their names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsevit_mm.deployment.detections import (
    Boxes,
    extract_regions,
    masks_in_boxes,
    proposals,
    single_stage_boxes,
    two_stage_boxes,
)
from sparsevit_mm.deployment.onnx_operators import NO_BOX
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.classifier import ImageClassifier


class Predictions(nn.Module):
    """A model from images to predictions.

    Attributes:
        task: 'detection', 'segmentation' or 'classification'.
        outputs: Names of the tensors that the forward pass returns, in order.
    """

    task: str
    outputs: tuple[str, ...]

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model


class ClassScores(Predictions):
    """(B, classes) probabilities of a classifier."""

    task = 'classification'
    outputs = ('scores',)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Classifies (B, C, H, W) images."""
        return (self.model(images).softmax(-1),)


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


class LabelMap(Predictions):
    """(B, H, W) classes of all pixels, from a segmentor."""

    task = 'segmentation'
    outputs = ('label_map',)

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.logits = SegmentorLogits(model)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Segments (B, C, H, W) images."""
        logits = self.logits(images)
        if logits.shape[1] == 1:
            return ((logits[:, 0].sigmoid() > self.model.decode_head.threshold).long(),)
        return (logits.argmax(1),)


class SingleStageDetections(Predictions):
    """(B, N, 4) boxes, (B, N) scores and (B, N) labels of a single-stage detector.

    Places without a box have the score 0 and the label -1.
    """

    task = 'detection'
    outputs = ('boxes', 'scores', 'labels')

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Detects in (B, C, H, W) images; boxes are in pixels of these."""
        head = self.model.bbox_head
        outputs = head(self.model.extract_feat(images))
        return _marked(single_stage_boxes(head, outputs, images.shape[2:]))


class TwoStageDetections(Predictions):
    """Boxes, scores and labels as `SingleStageDetections`, and masks if there is a mask head.

    The masks are (B, N, height, width) probabilities inside the boxes, such as 28 x 28; whoever
    needs a mask of the image pastes it there.
    """

    task = 'detection'

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        masks = ('masks',) if model.roi_head.with_mask else ()
        self.outputs = ('boxes', 'scores', 'labels', *masks)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Detects in (B, C, H, W) images; boxes are in pixels of these."""
        model, size = self.model, images.shape[2:]
        features = model.extract_feat(images)
        proposed = proposals(model.rpn_head, model.rpn_head(features), size)
        boxes = two_stage_boxes(model.roi_head, features, proposed, size)
        if not model.roi_head.with_mask:
            return _marked(boxes)
        return *_marked(boxes), masks_in_boxes(model.roi_head, features, boxes)


def predictions_of(model: nn.Module) -> Predictions:
    """Wraps a model as a module from images to predictions.

    Args:
        model: The model of a config.

    Raises:
        ConfigError: If it does more than standard operators can.
    """
    if isinstance(model, ImageClassifier):
        return ClassScores(model)
    if is_dense_segmentor(model):
        return LabelMap(model)
    if find_spec('mmdet') is not None:
        from mmdet.models import SingleStageDetector, TwoStageDetector

        if isinstance(model, TwoStageDetector):
            _check_two_stage(model)
            return TwoStageDetections(model)
        if isinstance(model, SingleStageDetector):
            _check_single_stage(model)
            return SingleStageDetections(model)
    raise _refused(type(model).__name__)


def is_dense_segmentor(model: nn.Module) -> bool:
    """Whether a model is MMSegmentation's EncoderDecoder whose head gives logits, without queries.

    Args:
        model: The model of a config.
    """
    if find_spec('mmseg') is None:
        return False
    from mmseg.models import EncoderDecoder
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead

    return isinstance(model, EncoderDecoder) and isinstance(model.decode_head, BaseDecodeHead)


@contextlib.contextmanager
def exportable_post_processing() -> Iterator[None]:
    """Replaces what `torch.export` refuses in MMDetection, as long as it lasts."""
    if find_spec('mmdet') is None:
        yield
        return
    from mmdet.models.roi_heads import SingleRoIExtractor

    original = SingleRoIExtractor.forward
    SingleRoIExtractor.forward = extract_regions
    try:
        yield
    finally:
        SingleRoIExtractor.forward = original


def _marked(boxes: Boxes) -> tuple[Tensor, Tensor, Tensor]:
    found = boxes.scores > NO_BOX
    return (
        boxes.corners,
        torch.where(found, boxes.scores, 0.0),
        torch.where(found, boxes.labels, -1),
    )


def _check_single_stage(model: Any) -> None:
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead

    head = model.bbox_head
    methods = ('predict', 'predict_by_feat', '_predict_by_feat_single', '_bbox_post_process')
    _check_methods(head, BaseDenseHead, methods)
    _check_activation(head)
    _check_nms(head.test_cfg.get('nms'))


def _check_two_stage(model: Any) -> None:
    from mmdet.models.dense_heads import RPNHead
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
    from mmdet.models.detectors.two_stage import TwoStageDetector
    from mmdet.models.roi_heads import CascadeRoIHead, SingleRoIExtractor, StandardRoIHead
    from mmdet.models.roi_heads.bbox_heads.bbox_head import BBoxHead
    from mmdet.models.roi_heads.mask_heads import FCNMaskHead

    _check_methods(model, TwoStageDetector, ('predict',))
    _check_methods(model.rpn_head, BaseDenseHead, ('predict', 'predict_by_feat'))
    _check_methods(model.rpn_head, RPNHead, ('_predict_by_feat_single', '_bbox_post_process'))
    _check_nms(model.rpn_head.test_cfg.nms)
    roi_head = model.roi_head
    known = CascadeRoIHead if isinstance(roi_head, CascadeRoIHead) else StandardRoIHead
    _check_methods(roi_head, known, ('predict', 'predict_bbox', 'predict_mask'))
    for head in _several(roi_head.bbox_head):
        _check_methods(head, BBoxHead, ('predict_by_feat', '_predict_by_feat_single'))
        _check_activation(head)
        if not head.with_cls or not head.with_reg:
            raise _refused(type(head).__name__)
    extractors = _several(roi_head.bbox_roi_extractor)
    if roi_head.with_mask:
        extractors += _several(roi_head.mask_roi_extractor)
        for head in _several(roi_head.mask_head):
            _check_methods(head, FCNMaskHead, ('predict_by_feat', '_predict_by_feat_single'))
    for extractor in extractors:
        _check_methods(extractor, SingleRoIExtractor, ('forward',))
        layer = extractor.roi_layers[0]
        if type(layer).__name__ != 'RoIAlign' or layer.pool_mode != 'avg':
            raise _refused(type(layer).__name__)
    _check_nms(roi_head.test_cfg.nms)


def _several(part: Any) -> list[Any]:
    return list(part) if isinstance(part, nn.ModuleList) else [part]


def _check_methods(part: Any, base: type, names: tuple[str, ...]) -> None:
    if any(getattr(type(part), name, None) is not getattr(base, name) for name in names):
        raise _refused(type(part).__name__)


def _check_activation(head: Any) -> None:
    if getattr(head.loss_cls, 'custom_cls_channels', False):
        raise _refused(f'{type(head.loss_cls).__name__} of {type(head).__name__}')


def _check_nms(nms: Any) -> None:
    if nms is None or nms.get('type', 'nms') != 'nms' or nms.get('score_threshold', 0) > 0:
        raise ConfigError(
            f"test_cfg.nms is {nms}, but for a file with predictions must have type='nms' and an "
            'iou_threshold alone.'
        )


def _refused(name: str) -> ConfigError:
    return ConfigError(
        f'part is predictions, but what {name} computes after the network has no form in standard '
        "operators yet. Use part='model' or part='backbone'."
    )
