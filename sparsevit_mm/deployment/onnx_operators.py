"""Two operators that `torch.export` cannot look into, each with its form in standard ONNX.

They stand for mmcv's compiled NMS and RoIAlign in exported graphs, and call them on torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from sparsevit_mm.ops.backend import CAN_DEFINE

NO_BOX = -1.0
"""Score of a place that holds no box; it neither suppresses a box nor is kept."""

_LOWEST_SCORE = -0.5
"""Between `NO_BOX` and every score of a box."""

_Function = Callable[..., Any]


def _operator(shapes: _Function) -> Callable[[_Function], _Function]:
    """Declares a function as an operator; before torch 2.4, which exports none, it stays one.

    Args:
        shapes: Makes what the operator returns without computing it.
    """

    def declare(function: _Function) -> _Function:
        if not CAN_DEFINE:
            return function
        name = f'sparsevit_mm::{function.__name__}'
        operator = torch.library.custom_op(name, function, mutates_args=())
        operator.register_fake(shapes)
        return operator

    return declare


def _shape_of_suppress(boxes: Tensor, scores: Tensor, iou_threshold: float, limit: int) -> Tensor:
    return torch.empty_like(scores)


@_operator(_shape_of_suppress)
def suppress(boxes: Tensor, scores: Tensor, iou_threshold: float, limit: int) -> Tensor:
    """Non-maximum suppression in every image of a batch.

    Args:
        boxes: (B, N, 4), corners (x1, y1, x2, y2).
        scores: (B, N); `NO_BOX` where there is no box.
        iou_threshold: Boxes that overlap more with a better one are dropped.
        limit: Largest number of boxes to keep in an image.

    Returns:
        (B, N): 1 where a box is kept, else 0.
    """
    from mmcv.ops import nms

    kept = torch.zeros_like(scores)
    for marks, image_boxes, image_scores in zip(kept, boxes, scores):
        (present,) = torch.where(image_scores > _LOWEST_SCORE)
        if len(present):
            _, best = nms(
                image_boxes[present].contiguous(),
                image_scores[present].contiguous(),
                iou_threshold,
            )
            marks[present[best[:limit]]] = 1
    return kept


def _shape_of_pool_regions(
    maps: Sequence[Tensor],
    regions: Tensor,
    levels: Tensor,
    height: int,
    width: int,
    scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    return maps[0].new_empty(regions.shape[0], maps[0].shape[1], height, width)


@_operator(_shape_of_pool_regions)
def pool_regions(
    maps: Sequence[Tensor],
    regions: Tensor,
    levels: Tensor,
    height: int,
    width: int,
    scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """RoIAlign (average) of every region on the feature map of its level.

    Args:
        maps: Of every level (B, C, height of the map, width of the map).
        regions: (R, 5): index of the image and corners (x1, y1, x2, y2) in pixels of the images.
        levels: (R,) int64.
        height: Of the output.
        width: Of the output.
        scales: Of every level, the size of its map divided by that of the images.
        sampling_ratio: Samples a bin and side; 0 takes as many as the region has pixels.
        aligned: Whether pixels have their center at half coordinates.

    Returns:
        (R, C, height, width).
    """
    from mmcv.ops import roi_align

    pooled = maps[0].new_zeros(len(regions), maps[0].shape[1], height, width)
    for level, (features, scale) in enumerate(zip(maps, scales)):
        (chosen,) = torch.where(levels == level)
        if len(chosen):
            pooled[chosen] = roi_align(
                features.contiguous(),
                regions[chosen],
                (height, width),
                scale,
                sampling_ratio,
                'avg',
                aligned,
            )
    return pooled


def onnx_forms() -> dict[Any, Callable[..., Any]]:
    """The operators' forms in ONNX, for `torch.onnx.export(custom_translation_table=...)`."""
    op: Any = import_module('onnxscript').opset18

    def onnx_suppress(boxes: Any, scores: Any, iou_threshold: float, limit: int) -> Any:
        chosen = op.NonMaxSuppression(
            boxes,
            op.Unsqueeze(scores, op.Constant(value_ints=[1])),
            op.Constant(value_ints=[limit]),
            op.Constant(value_floats=[iou_threshold]),
            op.Constant(value_floats=[_LOWEST_SCORE]),
        )  # (number of boxes, 3): image, class, index
        places = op.Gather(chosen, op.Constant(value_ints=[0, 2]), axis=1)
        number = op.Slice(
            op.Shape(chosen), op.Constant(value_ints=[0]), op.Constant(value_ints=[1])
        )
        ones = op.Expand(op.Constant(value_float=1.0), number)
        return op.ScatterND(op.Mul(scores, op.Constant(value_float=0.0)), places, ones)

    def onnx_pool_regions(
        maps: Sequence[Any],
        regions: Any,
        levels: Any,
        height: int,
        width: int,
        scales: Sequence[float],
        sampling_ratio: int,
        aligned: bool,
    ) -> Any:
        column = op.Constant(value_ints=[1])
        places, pooled = [], []
        for level, (features, scale) in enumerate(zip(maps, scales)):
            chosen = op.Reshape(
                op.NonZero(op.Equal(levels, op.Constant(value_int=level))),
                op.Constant(value_ints=[-1]),
            )
            of_level = op.Gather(regions, chosen)
            image = op.Squeeze(
                op.Slice(of_level, op.Constant(value_ints=[0]), column, column), column
            )
            corners = op.Slice(of_level, column, op.Constant(value_ints=[5]), column)
            places.append(chosen)
            pooled.append(
                op.RoiAlign(
                    features,
                    corners,
                    op.Cast(image, to=7),  # int64
                    coordinate_transformation_mode='half_pixel' if aligned else 'output_half_pixel',
                    mode='avg',
                    output_height=height,
                    output_width=width,
                    sampling_ratio=sampling_ratio,
                    spatial_scale=scale,
                )
            )
        if len(maps) == 1:
            return pooled[0]
        # Regions lie level after level: `order` says where each of the given ones is.
        order = op.ScatterND(
            levels,
            op.Unsqueeze(op.Concat(*places, axis=0), column),
            op.Range(
                op.Constant(value_int=0),
                op.Squeeze(op.Shape(levels)),
                op.Constant(value_int=1),
            ),
        )
        return op.Gather(op.Concat(*pooled, axis=0), order)

    return {
        torch.ops.sparsevit_mm.suppress.default: onnx_suppress,
        torch.ops.sparsevit_mm.pool_regions.default: onnx_pool_regions,
    }
