"""mmcv's modulated deformable convolution in standard operators, for exported graphs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def deformable_convolution(
    feature_map: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    deform_groups: int,
) -> Tensor:
    """What `mmcv.ops.modulated_deform_conv2d` computes: samples of the map, then one product.

    Args:
        feature_map: (B, C, H, W).
        offset: (B, deform_groups * taps * 2, h, w): how far each tap moves down and to the right.
        mask: (B, deform_groups * taps, h, w): factor of each tap.
        weight: (out, C / groups, rows of taps, columns of taps).
        bias: (out,) or None.
        stride: One number or two.
        padding: One number or two.
        dilation: One number or two.
        groups: Groups of channels of the convolution.
        deform_groups: Groups of channels that move together.

    Returns:
        (B, out, h, w).
    """
    batch, channels, height, width = feature_map.shape
    rows, columns = weight.shape[2:]
    new_height, new_width = offset.shape[2:]
    step, margin, spread = (_pair(value) for value in (stride, padding, dilation))
    along: Any = {'dtype': offset.dtype, 'device': offset.device}
    down = torch.arange(rows, **along).repeat_interleave(columns) * spread[0]
    across = torch.arange(columns, **along).repeat(rows) * spread[1]
    moved = offset.reshape(-1, rows * columns, 2, new_height, new_width)
    y = torch.arange(new_height, **along) * step[0] - margin[0]
    x = torch.arange(new_width, **along) * step[1] - margin[1]
    y = moved[:, :, 0] + down[:, None, None] + y[:, None]
    x = moved[:, :, 1] + across[:, None, None] + x
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1).flatten(1, 2)
    grouped = feature_map.reshape(-1, channels // deform_groups, height, width)
    sampled = F.grid_sample(grouped, grid, align_corners=False)
    sampled = sampled.unflatten(2, (rows * columns, new_height))
    sampled = sampled * mask.reshape(-1, 1, rows * columns, new_height, new_width)
    taken = weight.shape[1] * rows * columns
    sums = weight.reshape(groups, -1, taken) @ sampled.reshape(
        batch, groups, taken, new_height * new_width
    )
    made = sums.reshape(batch, -1, new_height, new_width)
    return made if bias is None else made + bias[:, None, None]


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
