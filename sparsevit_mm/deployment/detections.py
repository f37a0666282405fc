"""MMDetection's decoding, NMS and second stage with fixed numbers of boxes, for exported graphs.

MMDetection keeps as many boxes as there are in each image and branches on how many that is, which
`torch.export` refuses. Here every image has the same number of places; one without a box has the
score `NO_BOX`. The heads themselves and their box coders are MMDetection's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sparsevit_mm.deployment.onnx_operators import NO_BOX, pool_regions, suppress


class Boxes(NamedTuple):
    """Boxes of a batch, the best first.

    Attributes:
        corners: (B, N, 4), (x1, y1, x2, y2) in pixels of the network's input.
        scores: (B, N); `NO_BOX` where there is no box.
        labels: (B, N) int64, index of the class.
    """

    corners: Tensor
    scores: Tensor
    labels: Tensor


def single_stage_boxes(
    head: Any, outputs: Sequence[Sequence[Tensor]], image_size: Sequence[int]
) -> Boxes:
    """What `BaseDenseHead.predict_by_feat` finds.

    Args:
        head: A dense head that decodes as `BaseDenseHead` does.
        outputs: What its forward pass returns: of every level class scores, box regressions and,
            for some heads, a factor of the score such as centerness.
        image_size: Height and width of the network's input.
    """
    cfg = head.test_cfg
    scores, labels, corners = [], [], []
    priors = _priors(head, outputs[0])
    for level, (raw_scores, regressions, *factors) in enumerate(zip(*outputs)):
        all_scores = _probabilities(head, _by_prior(raw_scores, head.cls_out_channels))
        classes = all_scores.shape[2]
        all_scores = all_scores.flatten(1)
        all_scores = torch.where(all_scores > cfg.get('score_thr', 0), all_scores, NO_BOX)
        best, places = _best(all_scores, cfg.get('nms_pre', -1))
        of_prior = places // classes
        if factors:
            factor = _by_prior(factors[0], 1).squeeze(2).sigmoid().gather(1, of_prior)
            best = torch.where(best > NO_BOX, best * factor, NO_BOX)
        scores.append(best)
        labels.append(places % classes)
        corners.append(_decoded(head, priors[level], regressions, of_prior, image_size))
    boxes = Boxes(torch.cat(corners, 1), torch.cat(scores, 1), torch.cat(labels, 1))
    return _suppressed(_without_small(boxes, cfg), cfg.nms, cfg.max_per_img)


def proposals(head: Any, outputs: Sequence[Sequence[Tensor]], image_size: Sequence[int]) -> Boxes:
    """What `RPNHead.predict_by_feat` finds; the labels are the levels.

    Args:
        head: MMDetection's RPNHead.
        outputs: What its forward pass returns: of every level scores and box regressions.
        image_size: Height and width of the network's input.
    """
    cfg = head.test_cfg
    scores, levels, corners = [], [], []
    priors = _priors(head, outputs[0])
    for level, (raw_scores, regressions) in enumerate(zip(*outputs)):
        all_scores = _probabilities(head, _by_prior(raw_scores, head.cls_out_channels))
        best, places = _best(all_scores.flatten(1), cfg.get('nms_pre', -1))
        scores.append(best)
        levels.append(torch.full_like(places, level))
        corners.append(_decoded(head, priors[level], regressions, places, image_size))
    boxes = Boxes(torch.cat(corners, 1), torch.cat(scores, 1), torch.cat(levels, 1))
    return _suppressed(_without_small(boxes, cfg), cfg.nms, cfg.max_per_img)


def two_stage_boxes(
    roi_head: Any, features: Sequence[Tensor], proposed: Boxes, image_size: Sequence[int]
) -> Boxes:
    """What `StandardRoIHead.predict_bbox` and `CascadeRoIHead.predict_bbox` find.

    Args:
        roi_head: MMDetection's StandardRoIHead or CascadeRoIHead.
        features: Feature maps of the neck.
        proposed: From `proposals`.
        image_size: Height and width of the network's input.
    """
    is_cascade = isinstance(roi_head.bbox_head, torch.nn.ModuleList)
    heads = list(roi_head.bbox_head) if is_cascade else [roi_head.bbox_head]
    meta = {'img_shape': tuple(image_size)}
    regions = _regions(proposed.corners)
    stage_scores: list[Tensor] = []
    for stage, head in enumerate(heads):
        results = (
            roi_head._bbox_forward(stage, features, regions)
            if is_cascade
            else roi_head._bbox_forward(features, regions)
        )
        raw_scores, regressions = results['cls_score'], results['bbox_pred']
        stage_scores.append(raw_scores)
        if stage < len(heads) - 1:
            best = raw_scores[:, :-1].argmax(1)
            corners = head.regress_by_class(regions[:, 1:], best, regressions, meta)
            regions = torch.cat([regions[:, :1], corners], 1)
    scores = (sum(stage_scores) / len(stage_scores)).softmax(-1)[:, :-1]  # type: ignore[union-attr]

    cfg, head = roi_head.test_cfg, heads[-1]
    batch, number = proposed.scores.shape
    classes = scores.shape[1]
    coded = 1 if head.reg_class_agnostic else classes
    corners = head.bbox_coder.decode(
        regions[:, 1:].repeat_interleave(coded, 0), regressions.reshape(-1, 4), image_size
    ).reshape(batch, number, coded, 4)
    scores = scores.reshape(batch, number, classes)
    found = (scores > cfg.score_thr) & (proposed.scores > NO_BOX).unsqueeze(2)
    labels = torch.arange(classes, device=scores.device).expand(batch, number, classes)
    boxes = Boxes(
        corners.expand(batch, number, classes, 4).reshape(batch, -1, 4),
        torch.where(found, scores, NO_BOX).flatten(1),
        labels.flatten(1),
    )
    return _suppressed(boxes, cfg.nms, cfg.max_per_img)


def masks_in_boxes(roi_head: Any, features: Sequence[Tensor], boxes: Boxes) -> Tensor:
    """What the mask head finds inside each box, before it is pasted into the image.

    Args:
        roi_head: MMDetection's StandardRoIHead or CascadeRoIHead with a mask head.
        features: Feature maps of the neck.
        boxes: From `two_stage_boxes`.

    Returns:
        (B, N, height, width) probabilities of the box's class, such as 28 x 28.
    """
    is_cascade = isinstance(roi_head.mask_head, torch.nn.ModuleList)
    heads = list(roi_head.mask_head) if is_cascade else [roi_head.mask_head]
    regions = _regions(boxes.corners)
    stage_masks: list[Tensor] = []
    for stage in range(len(heads)):
        results = (
            roi_head._mask_forward(stage, features, regions)
            if is_cascade
            else roi_head._mask_forward(features, regions)
        )
        logits = results['mask_preds']
        if heads[stage].class_agnostic:
            logits = logits[:, 0]
        else:
            channel = boxes.labels.flatten()[:, None, None, None]
            logits = logits.gather(1, channel.expand(-1, 1, *logits.shape[2:])).squeeze(1)
        stage_masks.append(logits.sigmoid())
    masks = torch.stack(stage_masks).mean(0)
    return masks.reshape(*boxes.scores.shape, *masks.shape[1:])


def extract_regions(
    extractor: Any, features: Sequence[Tensor], regions: Tensor, roi_scale_factor: Any = None
) -> Tensor:
    """`SingleRoIExtractor.forward` without a branch on how many regions a level has.

    Args:
        extractor: MMDetection's SingleRoIExtractor.
        features: Of every level (B, C, height, width).
        regions: (R, 5): index of the image and corners in pixels of the network's input.
        roi_scale_factor: Factor of the regions' size.

    Returns:
        (R, C, height, width) of the extractor's output size.
    """
    levels = extractor.map_roi_levels(regions, len(features))
    if roi_scale_factor is not None:
        regions = extractor.roi_rescale(regions, roi_scale_factor)
    layer = extractor.roi_layers[0]
    if layer.aligned and layer.sampling_ratio <= 0:
        regions = _empty_ones_outside(regions)
    height, width = layer.output_size
    return pool_regions(
        list(features),
        regions,
        levels,
        height,
        width,
        [layer.spatial_scale for layer in extractor.roi_layers],
        layer.sampling_ratio,
        layer.aligned,
    )


def _empty_ones_outside(regions: Tensor) -> Tensor:
    """Moves regions without width or height to where there is no map, so their features are 0.

    mmcv's RoIAlign with as many samples as a region has pixels gives 0 for them, too, but that of
    OpenVINO divides 0 by 0. Places without a box are such regions.
    """
    corners = regions[:, 1:]
    is_empty = (corners[:, 2:] <= corners[:, :2]).any(1, keepdim=True)
    outside = corners.new_tensor([-1000.0, -1000.0, -999.0, -999.0])
    return torch.cat([regions[:, :1], torch.where(is_empty, outside, corners)], 1)


def _regions(corners: Tensor) -> Tensor:
    """(B, N, 4) boxes as (B * N, 5) regions, which start with the index of the image."""
    batch, number = corners.shape[:2]
    image = torch.arange(batch, dtype=corners.dtype, device=corners.device)
    image = image[:, None, None].expand(batch, number, 1)
    return torch.cat([image, corners], 2).flatten(0, 1)


def _priors(head: Any, maps: Sequence[Tensor]) -> list[Tensor]:
    priors: list[Tensor] = head.prior_generator.grid_priors(
        [features.shape[-2:] for features in maps], dtype=maps[0].dtype, device=maps[0].device
    )
    return priors


def _by_prior(maps: Tensor, channels: int) -> Tensor:
    """(B, A * channels, H, W) as (B, H * W * A, channels)."""
    return maps.permute(0, 2, 3, 1).reshape(maps.shape[0], -1, channels)


def _probabilities(head: Any, raw_scores: Tensor) -> Tensor:
    """(B, P, classes) from a head's (B, P, classes) or, with background, (B, P, classes + 1)."""
    return raw_scores.sigmoid() if head.use_sigmoid_cls else raw_scores.softmax(-1)[..., :-1]


def _best(scores: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """The best of (B, N) scores, in order, and their places; all of them if the limit is -1."""
    number = scores.shape[1]
    best, places = scores.topk(number if limit < 0 else min(limit, number))
    return best, places


def _decoded(
    head: Any, priors: Tensor, regressions: Tensor, chosen: Tensor, image_size: Sequence[int]
) -> Tensor:
    """(B, N, 4) corners of the (B, N) chosen priors of a level."""
    size = head.bbox_coder.encode_size
    regressions = _by_prior(regressions, size)
    regressions = regressions.gather(1, chosen.unsqueeze(2).expand(-1, -1, size))
    corners: Tensor = head.bbox_coder.decode(
        priors[chosen.flatten()], regressions.flatten(0, 1), max_shape=image_size
    )
    return corners.reshape(*chosen.shape, 4)


def _without_small(boxes: Boxes, cfg: Any) -> Boxes:
    smallest = cfg.get('min_bbox_size', -1)
    if smallest < 0:
        return boxes
    sides = boxes.corners[..., 2:] - boxes.corners[..., :2]
    fits = (sides > smallest).all(-1)
    return boxes._replace(scores=torch.where(fits, boxes.scores, NO_BOX))


def _suppressed(boxes: Boxes, nms: Any, limit: int) -> Boxes:
    """At most `limit` boxes an image after NMS inside every label."""
    corners = boxes.corners
    if not nms.get('class_agnostic', False):
        # As in mmcv: moved so far apart that boxes of different labels do not overlap.
        apart = corners.amax((1, 2), keepdim=True) + 1
        corners = corners + boxes.labels.unsqueeze(2) * apart
    limit = min(limit, corners.shape[1])
    kept = suppress(corners, boxes.scores, nms.iou_threshold, limit)
    scores, places = torch.where(kept > 0, boxes.scores, NO_BOX).topk(limit)
    found = scores > NO_BOX
    chosen = boxes.corners.gather(1, places.unsqueeze(2).expand(-1, -1, 4))
    return Boxes(
        torch.where(found.unsqueeze(2), chosen, 0.0),
        scores,
        torch.where(found, boxes.labels.gather(1, places), 0),
    )
