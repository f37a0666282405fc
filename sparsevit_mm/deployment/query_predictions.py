"""Wraps detectors and segmentors with queries (DINO, Mask2Former) from images to predictions."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsevit_mm.deployment.predictions import Predictions, check_methods, refused
from sparsevit_mm.errors import ConfigError


class QueryDetections(Predictions):
    """(B, N, 4) boxes, (B, N) scores and (B, N) labels of Deformable DETR or DINO, the best first.

    There is no NMS, and every place holds a box.
    """

    task = 'detection'
    outputs = ('boxes', 'scores', 'labels')

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Detects in (B, C, H, W) images; boxes are in pixels of these."""
        from mmdet.structures import DetDataSample

        model: Any = self.model
        height, width = images.shape[2:]
        size = dict.fromkeys(('img_shape', 'batch_input_shape'), (height, width))
        decoded = model.forward_transformer(
            model.extract_feat(images), [DetDataSample(metainfo=size)]
        )
        head = model.bbox_head
        all_scores, all_boxes = head(**decoded)
        scores, boxes = all_scores[-1].sigmoid(), all_boxes[-1]
        classes = scores.shape[2]
        scores, places = scores.flatten(1).topk(head.test_cfg.get('max_per_img', scores.shape[1]))
        boxes = boxes.gather(1, (places // classes).unsqueeze(2).expand(-1, -1, 4))
        center, extent = boxes.split(2, 2)
        scale = boxes.new_tensor([width, height])
        corners = [(center + sign * extent / 2) * scale for sign in (-1, 1)]
        boxes = torch.cat([torch.minimum(corner.clamp(min=0), scale) for corner in corners], 2)
        return boxes, scores, places % classes


class QueryInstances(Predictions):
    """(B, N, 4) boxes, (B, N) scores and labels and (B, N, h, w) mask logits of Mask2Former.

    A mask is where its logits, resized to the images, are positive; its box lies around it. Places
    of classes without instances (stuff) have the score 0 and the label -1.
    """

    task = 'detection'
    outputs = ('boxes', 'scores', 'labels', 'mask_logits')

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Detects in (B, C, H, W) images; boxes are in pixels of these."""
        model: Any = self.model
        fusion = model.panoptic_fusion_head
        class_logits, mask_logits = (
            of_layers[-1] for of_layers in model.panoptic_head(model.extract_feat(images), [])
        )
        scores = class_logits.softmax(-1)[..., :-1]
        scores, places = scores.flatten(1).topk(fusion.test_cfg.get('max_per_image', 100))
        labels, queries = places % fusion.num_classes, places // fusion.num_classes
        mask_logits = _chosen(mask_logits, queries)
        size = images.shape[2:]
        resized = F.interpolate(mask_logits, tuple(size), mode='bilinear', align_corners=False)
        inside = (resized > 0).to(resized.dtype)
        certainty = (resized.sigmoid() * inside).sum((2, 3)) / (inside.sum((2, 3)) + 1e-6)
        is_thing = labels < fusion.num_things_classes
        scores, order = torch.where(is_thing, scores * certainty, 0.0).sort(1, descending=True)
        labels = torch.where(is_thing, labels, -1).gather(1, order)
        boxes = torch.stack([_edge(inside, axis, last) for last in (0, 1) for axis in (3, 2)], 2)
        boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
        return boxes, scores, labels, _chosen(mask_logits, order)


def _chosen(maps: Tensor, places: Tensor) -> Tensor:
    """(B, N, h, w) maps of the (B, N) places."""
    return maps.gather(1, places[..., None, None].expand(-1, -1, *maps.shape[2:]))


def _edge(inside: Tensor, axis: int, last: int) -> Tensor:
    """Where masks begin along an axis, or end if `last`.

    Args:
        inside: (B, N, H, W), 1 inside the masks, else 0.
        axis: 2 or 3.
        last: 0 or 1.

    Returns:
        (B, N); 0 of empty masks.
    """
    touched, extent = inside.amax(5 - axis) > 0, inside.shape[axis]
    places = torch.arange(extent, dtype=inside.dtype, device=inside.device)
    if last:
        return torch.where(touched, places + 1, 0.0).amax(2)
    first = torch.where(touched, places, float(extent)).amin(2)
    return torch.where(first < extent, first, 0.0)


class QueryLabelMap(Predictions):
    """(B, H, W) classes of all pixels, from MMSegmentation's Mask2Former."""

    task = 'segmentation'
    outputs = ('label_map',)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Segments (B, C, H, W) images."""
        model: Any = self.model
        size = tuple(images.shape[2:])
        metas = [dict(img_shape=size, pad_shape=size)]
        logits = model.decode_head.predict(model.extract_feat(images), metas, model.test_cfg)
        return (logits.argmax(1),)


def query_predictions(model: nn.Module) -> Predictions | None:
    """Wraps a model with queries as a module from images to predictions.

    Args:
        model: The model of a config.

    Returns:
        The module; None if it is another model.

    Raises:
        ConfigError: If its head decodes in a way of its own.
    """
    if find_spec('mmdet') is None:
        return None
    from mmdet.models.dense_heads import DeformableDETRHead, Mask2FormerHead
    from mmdet.models.detectors import DeformableDETR, MaskFormer
    from mmdet.models.seg_heads import MaskFormerFusionHead

    if isinstance(model, DeformableDETR):
        decoding = ('predict', 'predict_by_feat', '_predict_by_feat_single')
        check_methods(model.bbox_head, DeformableDETRHead, decoding)
        if not model.bbox_head.loss_cls.use_sigmoid:
            raise refused(f'{type(model.bbox_head).__name__} with a softmax')
        return QueryDetections(model)
    if isinstance(model, MaskFormer):
        head, fusion = model.panoptic_head, model.panoptic_fusion_head
        check_methods(head, Mask2FormerHead, ('predict', 'forward', '_forward_head'))
        check_methods(fusion, MaskFormerFusionHead, ('predict', 'instance_postprocess'))
        if not fusion.test_cfg.get('instance_on', False):
            raise ConfigError(
                'test_cfg.instance_on is False, but a file with predictions of '
                f'{type(model).__name__} holds instances.'
            )
        return QueryInstances(model)
    if find_spec('mmseg') is None:
        return None
    from mmseg.models import EncoderDecoder
    from mmseg.models.decode_heads import Mask2FormerHead as DecodeHead

    if isinstance(model, EncoderDecoder) and isinstance(model.decode_head, DecodeHead):
        check_methods(model.decode_head, DecodeHead, ('predict', 'forward', '_forward_head'))
        return QueryLabelMap(model)
    return None
