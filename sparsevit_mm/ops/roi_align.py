"""RoIAlign (Mask R-CNN) of channels-last maps on a CPU, as weighted sums of their tokens.

A value of a region is the mean of samples, each interpolated between four tokens of the map. So it
is a weighted sum of whole tokens, which PyTorch computes for all channels of a token at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK = 2**19
"""Tokens that are read for the regions of one chunk: indices and weights of more fill the cache."""


def roi_align(
    feature_map: Tensor,
    rois: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    """Samples regions of a map; equal to mmcv's `RoIAlign` with the mean of samples.

    Args:
        feature_map: (B, C, H, W); channels-last, or it is copied.
        rois: (R, 5) image index and left, top, right, bottom in pixels of the image, float32.
        output_size: Height h and width w of a sampled region.
        spatial_scale: Cells of the map a pixel of the image.
        sampling_ratio: Samples of a value along each side; 0 for about one a cell of the map.
        aligned: Whether the centers of cells, not their corners, are at whole numbers.

    Returns:
        (R, C, h, w), channels-last, in the dtype of the map.
    """
    _, channels, height, width = feature_map.shape
    tokens = feature_map.permute(0, 2, 3, 1).reshape(-1, channels)
    offset = 0.5 if aligned else 0.0
    first = rois[:, [2, 1]] * spatial_scale - offset
    sides = rois[:, [4, 3]] * spatial_scale - offset - first
    if not aligned:
        sides = sides.clamp(min=1)
    bins = rois.new_tensor(output_size)
    samples = (
        (sides / bins).ceil() if sampling_ratio == 0 else torch.full_like(sides, sampling_ratio)
    )
    made = tokens.new_empty(len(rois), *output_size, channels)
    for chunk in _chunks_of_like_size(
        samples.clamp(min=1), made[0, ..., 0].numel() if len(rois) else 1
    ):
        taps = [
            _taps(first[chunk, axis], sides[chunk, axis], samples[chunk, axis], bins_of, length)
            for axis, (bins_of, length) in enumerate(zip(output_size, (height, width)))
        ]
        (rows, row_weights), (cols, col_weights) = taps
        images = rois[chunk, 0].long() * height
        index = (rows + images[:, None, None])[:, :, None, :, None] * width
        index = index + cols[:, None, :, None, :]
        weights = row_weights[:, :, None, :, None] * col_weights[:, None, :, None, :]
        values = F.embedding_bag(
            index.flatten(3).flatten(0, 2),
            tokens,
            mode='sum',
            per_sample_weights=weights.flatten(3).flatten(0, 2).to(tokens.dtype),
        )
        made[chunk] = values.view(-1, *output_size, channels)
    return made.permute(0, 3, 1, 2)


def _chunks_of_like_size(samples: Tensor, values: int) -> Iterator[Tensor]:
    """Cuts regions into chunks, in each of which all take as many samples as any of it.

    Args:
        samples: (R, 2) samples of a value along each side.
        values: Values of a region.

    Yields:
        Indices of regions.
    """
    order = samples.prod(1).argsort(descending=True)
    begin = 0
    while begin < len(order):
        count = len(order) - begin
        while count > 1:
            most = samples[order[begin : begin + count]].amax(0).prod()
            if 4 * count * values * most <= _CHUNK:
                break
            count = (count + 1) // 2
        yield order[begin : begin + count]
        begin += count


def _taps(
    first: Tensor, side: Tensor, samples: Tensor, bins: int, length: int
) -> tuple[Tensor, Tensor]:
    """Which cells along one axis make each value, and with which weights.

    Args:
        first: (R,) where the regions begin, in cells.
        side: (R,) their length in cells.
        samples: (R,) samples of a value; S is the most of them.
        bins: Values of a region.
        length: Cells of the map.

    Returns:
        (R, bins, 2 * S) cells and their weights.
    """
    step = torch.arange(max(1, int(samples.max())), device=first.device)
    per_value = samples.clamp(min=1)[:, None, None]
    value = torch.arange(bins, device=first.device)[:, None]
    place = first[:, None, None] + (value + (step + 0.5) / per_value) * (side / bins)[:, None, None]
    counts = (step < samples[:, None, None]) & (place >= -1) & (place <= length)
    place = place.clamp(0, length - 1)
    low = place.long()
    share = place - low
    cells = torch.cat([low, (low + 1).clamp(max=length - 1)], dim=2)
    return cells, torch.cat([1 - share, share], dim=2) * (counts / per_value).repeat(1, 1, 2)
