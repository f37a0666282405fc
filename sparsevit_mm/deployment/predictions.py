"""Wraps a whole model as a module from images to predictions, with their names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsevit_mm.deployment.deformable import deformable_convolution
from sparsevit_mm.deployment.detections import (
    Boxes,
    extract_regions,
    masks_in_boxes,
    proposals,
    single_stage_boxes,
    two_stage_boxes,
)
from sparsevit_mm.deployment.map_sizes import MapSizes
from sparsevit_mm.deployment.onnx_operators import NO_BOX
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.classifier import ImageClassifier


class Predictions(nn.Module):
    """A model from images to predictions.

    Attributes:
        task: One of `sparsevit_mm.deployment.description.TASKS`.
        inputs: Names of the tensors that the forward pass takes, in order; the first are images.
        outputs: Names of the tensors that the forward pass returns, in order.
    """

    task: str
    inputs: tuple[str, ...] = ('images',)
    outputs: tuple[str, ...]

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def other_inputs(self, batch: int, height: int, width: int) -> tuple[Tensor, ...]:
        """Values of the inputs after the images, such as cameras, to export and to compare with.

        Args:
            batch: Number of images.
            height: Of the images in pixels.
            width: Of the images in pixels.
        """
        return ()


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
    own: Any = getattr(model, 'exported_predictions', None)
    if own is not None:
        found: Predictions = own()
        return found
    if is_mono_3d(model):
        from sparsevit_mm.deployment.predictions_3d import camera_detections

        return camera_detections(model)
    from sparsevit_mm.deployment.query_predictions import query_predictions

    of_queries = query_predictions(model)
    if of_queries is not None:
        return of_queries
    if find_spec('mmdet') is not None:
        from mmdet.models import SingleStageDetector, TwoStageDetector

        if isinstance(model, TwoStageDetector):
            _check_two_stage(model)
            return TwoStageDetections(model)
        if isinstance(model, SingleStageDetector):
            _check_single_stage(model)
            return SingleStageDetections(model)
    raise refused(type(model).__name__)


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


def is_mono_3d(model: nn.Module) -> bool:
    """Whether a model is MMDetection3D's detector of 3D boxes in one image.

    Args:
        model: The model of a config.
    """
    if find_spec('mmdet3d') is None:
        return False
    return any(kind.__name__ == 'SingleStageMono3DDetector' for kind in type(model).__mro__)


@contextlib.contextmanager
def exportable_post_processing() -> Iterator[None]:
    """Replaces what `torch.export` refuses in MMDetection and mmcv, as long as it lasts."""
    if find_spec('mmdet') is None:
        yield
        return
    from mmcv.ops import modulated_deform_conv
    from mmdet.models.roi_heads import SingleRoIExtractor

    replaced: list[tuple[Any, str, Any]] = [
        (SingleRoIExtractor, 'forward', extract_regions),
        (modulated_deform_conv, 'modulated_deform_conv2d', deformable_convolution),
        (torch, '_shape_as_tensor', MapSizes.of),
    ]
    originals = [getattr(owner, name) for owner, name, _ in replaced]
    try:
        for owner, name, function in replaced:
            setattr(owner, name, function)
        yield
    finally:
        for (owner, name, _), original in zip(replaced, originals):
            setattr(owner, name, original)


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
    check_methods(head, BaseDenseHead, methods)
    _check_activation(head)
    _check_nms(head.test_cfg.get('nms'))


def _check_two_stage(model: Any) -> None:
    from mmdet.models.dense_heads import RPNHead
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
    from mmdet.models.detectors.two_stage import TwoStageDetector
    from mmdet.models.roi_heads import CascadeRoIHead, SingleRoIExtractor, StandardRoIHead
    from mmdet.models.roi_heads.bbox_heads.bbox_head import BBoxHead
    from mmdet.models.roi_heads.mask_heads import FCNMaskHead

    check_methods(model, TwoStageDetector, ('predict',))
    check_methods(model.rpn_head, BaseDenseHead, ('predict', 'predict_by_feat'))
    check_methods(model.rpn_head, RPNHead, ('_predict_by_feat_single', '_bbox_post_process'))
    _check_nms(model.rpn_head.test_cfg.nms)
    roi_head = model.roi_head
    known = CascadeRoIHead if isinstance(roi_head, CascadeRoIHead) else StandardRoIHead
    check_methods(roi_head, known, ('predict', 'predict_bbox', 'predict_mask'))
    for head in _several(roi_head.bbox_head):
        check_methods(head, BBoxHead, ('predict_by_feat', '_predict_by_feat_single'))
        _check_activation(head)
        if not head.with_cls or not head.with_reg:
            raise refused(type(head).__name__)
    extractors = _several(roi_head.bbox_roi_extractor)
    if roi_head.with_mask:
        extractors += _several(roi_head.mask_roi_extractor)
        for head in _several(roi_head.mask_head):
            check_methods(head, FCNMaskHead, ('predict_by_feat', '_predict_by_feat_single'))
    for extractor in extractors:
        check_methods(extractor, SingleRoIExtractor, ('forward',))
        layer = extractor.roi_layers[0]
        if type(layer).__name__ != 'RoIAlign' or layer.pool_mode != 'avg':
            raise refused(type(layer).__name__)
    _check_nms(roi_head.test_cfg.nms)


def _several(part: Any) -> list[Any]:
    return list(part) if isinstance(part, nn.ModuleList) else [part]


def check_methods(part: Any, base: type, names: tuple[str, ...]) -> None:
    """Checks that a part of a model computes as a class does.

    Args:
        part: The part.
        base: The class.
        names: Methods that must be those of the class.

    Raises:
        ConfigError: If one is not.
    """
    if any(getattr(type(part), name, None) is not getattr(base, name) for name in names):
        raise refused(type(part).__name__)


def _check_activation(head: Any) -> None:
    if getattr(head.loss_cls, 'custom_cls_channels', False):
        raise refused(f'{type(head.loss_cls).__name__} of {type(head).__name__}')


def _check_nms(nms: Any) -> None:
    if nms is None or nms.get('type', 'nms') != 'nms' or nms.get('score_threshold', 0) > 0:
        raise ConfigError(
            f"test_cfg.nms is {nms}, but for a file with predictions must have type='nms' and an "
            'iou_threshold alone.'
        )


def refused(name: str) -> ConfigError:
    """The error for a model whose predictions no file can hold.

    Args:
        name: What of it has no standard form.
    """
    return ConfigError(
        f'part is predictions, but what {name} computes after the network has no form in standard '
        "operators yet. Use part='model' or part='backbone'."
    )
