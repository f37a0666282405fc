"""Wraps detectors and segmentors with queries (DINO, Mask2Former) from images to predictions."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from sparsevit_mm.deployment.predictions import Predictions, check_methods, refused


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
    from mmdet.models.dense_heads import DeformableDETRHead
    from mmdet.models.detectors import DeformableDETR

    if isinstance(model, DeformableDETR):
        decoding = ('predict', 'predict_by_feat', '_predict_by_feat_single')
        check_methods(model.bbox_head, DeformableDETRHead, decoding)
        if not model.bbox_head.loss_cls.use_sigmoid:
            raise refused(f'{type(model.bbox_head).__name__} with a softmax')
        return QueryDetections(model)
    if find_spec('mmseg') is None:
        return None
    from mmseg.models import EncoderDecoder
    from mmseg.models.decode_heads import Mask2FormerHead

    if isinstance(model, EncoderDecoder) and isinstance(model.decode_head, Mask2FormerHead):
        check_methods(model.decode_head, Mask2FormerHead, ('predict', 'forward', '_forward_head'))
        return QueryLabelMap(model)
    return None
