"""SparseViT the plain way: pad, roll and cut the whole map, gather, compute, scatter, undo.

What most implementations do, and what ours is measured against: every pruned window is still
copied five times a block, and every shifted window gets a mask. It shares the parameters of a
`SparseViT` and none of its code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsevit_mm.models.sparsevit import SparseViT


class PlainSparseViT(nn.Module):
    """A `SparseViT` computed by whole maps.

    Args:
        network: Whose parameters and schedule are used.
    """

    def __init__(self, network: SparseViT) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) to the maps that `SparseViT` returns."""
        net = self.network
        patch = net.arch.patch_size
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % patch, 0, -height % patch))
        tokens = net.patch_embed.norm(net.patch_embed.projection(images).permute(0, 2, 3, 1))
        outputs = []
        for number, stage in enumerate(net.stages):
            scored = tokens
            for block, ratio in zip(stage.blocks, net.pruning_schedule.ratios[number]):
                tokens = _block(block, tokens, scored, ratio)
            outputs.append(getattr(net, f'norm{number}')(tokens).permute(0, 3, 1, 2).contiguous())
            if stage.downsample is not None:
                tokens = _merge(stage.downsample, tokens)
        return tuple(outputs)


def _block(block: nn.Module, tokens: Tensor, scored: Tensor, ratio: float) -> Tensor:
    size, shift = block.window_size, block.shift
    _, height, width, channels = tokens.shape
    padded = _padded(tokens, size)
    windows = _windows(torch.roll(padded, (-shift, -shift), (1, 2)), size)
    masks = _masks(*padded.shape[1:3], size, shift, tokens.device) if shift else None
    if ratio:
        kept = _kept(scored, ratio, size, shift)
        rows = kept[:, :, None, None].expand(-1, -1, size * size, channels)
        chosen = windows.gather(1, rows)
        computed = _compute(block, chosen, None if masks is None else masks[kept])
        windows = windows.scatter(1, rows, computed)
    else:
        windows = _compute(block, windows, None if masks is None else masks[None])
    padded = torch.roll(_joined(windows, size, padded), (shift, shift), (1, 2))
    return padded[:, :height, :width]


def _compute(block: nn.Module, windows: Tensor, masks: Tensor | None) -> Tensor:
    """(B, K, N, C) windows to the same, with masks (B, K, N, N)."""
    attention = block.attn['w_msa']
    heads, size = attention.num_heads, block.window_size
    qkv = attention.qkv(block.norm1(windows)).unflatten(-1, (3, heads, -1))
    query, key, value = qkv.permute(3, 0, 1, 4, 2, 5)
    scores = query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)
    place = torch.arange(size, device=windows.device)
    offset = place[:, None] - place[None, :] + size - 1
    index = offset[:, None, :, None] * (2 * size - 1) + offset[None, :, None, :]
    bias = attention.relative_position_bias_table[index.reshape(-1)]
    scores = scores + bias.view(size**2, size**2, heads).permute(2, 0, 1)
    if masks is not None:
        scores = scores + masks[:, :, None].to(scores.dtype)
    attended = (scores.softmax(-1) @ value).transpose(2, 3).flatten(3)
    windows = windows + attention.proj(attended)
    return windows + block.ffn['layers'](block.norm2(windows))


def _kept(scored: Tensor, ratio: float, size: int, shift: int) -> Tensor:
    """(B, K) numbers of the windows that stay."""
    importance = _padded(scored.float().abs().mean(-1, keepdim=True), size)
    windows = _windows(torch.roll(importance, (-shift, -shift), (1, 2)), size)
    scores = windows.square().sum((2, 3))
    count = max(int(scores.shape[1] * (1 - ratio)), 1)
    return scores.argsort(dim=1, descending=True, stable=True)[:, :count]


def _merge(merging: nn.Module, tokens: Tensor) -> Tensor:
    tokens = F.pad(tokens, (0, 0, 0, tokens.shape[2] % 2, 0, tokens.shape[1] % 2))
    quads = torch.stack([tokens[:, r::2, c::2] for r in (0, 1) for c in (0, 1)], dim=-1)
    return merging.reduction(merging.norm(quads.flatten(3)))


def _padded(tokens: Tensor, size: int) -> Tensor:
    height, width = tokens.shape[1:3]
    return F.pad(tokens, (0, 0, 0, -width % size, 0, -height % size))


def _windows(tokens: Tensor, size: int) -> Tensor:
    batch, height, width, channels = tokens.shape
    split = tokens.view(batch, height // size, size, width // size, size, channels)
    return split.transpose(2, 3).reshape(batch, -1, size * size, channels)


def _joined(windows: Tensor, size: int, like: Tensor) -> Tensor:
    batch, height, width, channels = like.shape
    split = windows.view(batch, height // size, width // size, size, size, channels)
    return split.transpose(2, 3).reshape(like.shape)


def _masks(height: int, width: int, size: int, shift: int, device: torch.device) -> Tensor:
    """(windows, N, N): -100 where tokens of a shifted window are no neighbors."""
    regions = torch.zeros(1, height, width, 1, device=device)
    bounds = (slice(0, -size), slice(-size, -shift), slice(-shift, None))
    for number, (rows, cols) in enumerate((r, c) for r in bounds for c in bounds):
        regions[:, rows, cols] = number
    ids = _windows(regions, size)[0, :, :, 0]
    return torch.where(ids[:, :, None] == ids[:, None, :], 0.0, -100.0)
