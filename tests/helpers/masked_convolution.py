"""A convolution of chosen windows computed the slow, obvious way: everywhere, then masked."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def window_mask(kept, batch, height, width, size):
    """(B, 1, H, W) of 0 and 1 from indices image * windows + window."""
    rows, cols = -(-height // size), -(-width // size)
    mask = torch.zeros(batch * rows * cols, dtype=torch.double)
    mask[kept] = 1
    mask = mask.view(batch, 1, rows, cols)
    return mask.repeat_interleave(size, 2).repeat_interleave(size, 3)[..., :height, :width]


def pooled(x, pool):
    """(B, C, ceil(H / pool), ceil(W / pool)) means; at the edges, of what is there."""
    weights = torch.ones_like(x[:1, :1])
    pad = (0, -x.shape[3] % pool, 0, -x.shape[2] % pool)
    sums, counts = (F.avg_pool2d(F.pad(part, pad), pool) for part in (x, weights))
    return sums / counts


def upsampled(coarse, height, width, pool):
    """(B, C, H, W) by bilinear interpolation."""
    size = (coarse.shape[2] * pool, coarse.shape[3] * pool)
    full = F.interpolate(coarse, size, mode='bilinear', align_corners=False)
    return full[..., :height, :width]


def masked_convolution(x, conv, kept, size, pool, coarse=None):
    """mask * conv(x) + (1 - mask) * upsample(conv(avgpool(x)))."""
    height, width = x.shape[-2:]
    mask = window_mask(kept, len(x), height, width, size).to(x)
    coarse = conv(pooled(x, pool)) if coarse is None else coarse
    return mask * conv(x) + (1 - mask) * upsampled(coarse, height, width, pool)
