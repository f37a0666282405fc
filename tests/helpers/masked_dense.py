"""SparseViT computed the slow, obvious way: everything is computed, then masked.

Written from the paper's description with whole maps, `roll`, `pad` and reshapes; it shares the
parameters of a `SparseViT` and none of its code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def to_windows(maps, size):
    b, h, w, c = maps.shape
    maps = maps.view(b, h // size, size, w // size, size, c)
    return maps.permute(0, 1, 3, 2, 4, 5).reshape(b, -1, size * size, c)


def to_map(windows, size, h, w):
    b, _, _, c = windows.shape
    windows = windows.view(b, h // size, w // size, size, size, c)
    return windows.permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)


def region_mask(h, w, size, shift):
    regions = torch.zeros(1, h, w, 1)
    bounds = (slice(0, -size), slice(-size, -shift), slice(-shift, None))
    for number, (rows, cols) in enumerate((r, c) for r in bounds for c in bounds):
        regions[:, rows, cols] = number
    ids = to_windows(regions, size)[0, :, :, 0]
    return torch.where(ids[:, :, None] == ids[:, None, :], 0.0, -100.0)


def bias(table, size):
    coords = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing='ij'))
    coords = coords.flatten(1)
    offset = coords[:, :, None] - coords[:, None, :] + size - 1
    return table[offset[0] * (2 * size - 1) + offset[1]].permute(2, 0, 1)


def block(net, blk, x, zero_after_norm):
    """One block on the whole map x (B, H, W, C)."""
    size, shift = net.arch.window_size, blk.shift
    b, h, w, c = x.shape
    pad = (0, 0, 0, -w % size, 0, -h % size)
    y = F.pad(blk.norm1(x), pad) if zero_after_norm else blk.norm1(F.pad(x, pad))
    padded_h, padded_w = y.shape[1:3]
    y = to_windows(torch.roll(y, (-shift, -shift), (1, 2)), size)
    attn = blk.attn['w_msa']
    heads = attn.num_heads
    qkv = attn.qkv(y).view(*y.shape[:3], 3, heads, c // heads)
    q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)
    scores = q @ k.transpose(-1, -2) / (c // heads) ** 0.5
    scores = scores + bias(attn.relative_position_bias_table, size)
    if shift:
        scores = scores + region_mask(padded_h, padded_w, size, shift)[:, None].to(x)
    y = (scores.softmax(-1) @ v).transpose(2, 3).reshape(y.shape)
    y = torch.roll(to_map(attn.proj(y), size, padded_h, padded_w), (shift, shift), (1, 2))
    x = x + y[:, :h, :w]
    return x + blk.ffn['layers'](blk.norm2(x))


def shared_out(scores, number):
    """Mask of the windows a group keeps, one by one: the best of each image, then the best."""
    relative = scores / scores.mean(1, keepdim=True)
    mask = torch.zeros_like(scores)
    for image in range(len(scores)):
        mask[image, scores[image].argmax()] = 1
    while mask.sum() < number:
        left = relative.masked_fill(mask.bool(), -1)
        mask.view(-1)[left.argmax()] = 1
    return mask


def kept_tokens(scored, ratio, size, shift, group_size):
    """(B, H, W, 1) mask of the tokens whose window stays, from the stage's scored map."""
    b, h, w, _ = scored.shape
    importance = F.pad(scored.abs().mean(-1, keepdim=True), (0, 0, 0, -w % size, 0, -h % size))
    padded_h, padded_w = importance.shape[1:3]
    windows = to_windows(torch.roll(importance, (-shift, -shift), (1, 2)), size)
    scores = windows.square().sum((2, 3)).sqrt()
    count = max(int(scores.shape[1] * (1 - ratio)), 1)
    mask = torch.zeros_like(scores)
    if group_size == 1:
        mask.scatter_(1, scores.argsort(dim=1, descending=True, stable=True)[:, :count], 1)
    else:
        groups = scores.split(group_size or b)
        mask = torch.cat([shared_out(group, count * len(group)) for group in groups])
    mask = mask[:, :, None, None].expand(-1, -1, size * size, 1)
    mask = torch.roll(to_map(mask, size, padded_h, padded_w), (shift, shift), (1, 2))
    return mask[:, :h, :w].bool()


def masked_dense_forward(net, images):
    """The outputs of `net` on `images`."""
    zero_after_norm = net.stages[0].blocks[0].zero_padding_after_norm
    patch = net.arch.patch_size
    h, w = images.shape[-2:]
    x = net.patch_embed.projection(F.pad(images, (0, -w % patch, 0, -h % patch)))
    x = net.patch_embed.norm(x.permute(0, 2, 3, 1))
    outputs = []
    for number, (stage, ratios) in enumerate(zip(net.stages, net.pruning_schedule.ratios)):
        scored = None
        for blk, ratio in zip(stage.blocks, ratios):
            computed = block(net, blk, x, zero_after_norm)
            if ratio > 0:
                scored = x.detach() if scored is None else scored
                size, group_size = net.arch.window_size, net.allocation.group_size
                mask = kept_tokens(scored, ratio, size, blk.shift, group_size)
                computed = torch.where(mask, computed, x)
            x = computed
        outputs.append(getattr(net, f'norm{number}')(x).permute(0, 3, 1, 2))
        if stage.downsample is not None:
            x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
            quads = torch.stack([x[:, r::2, c::2] for r in (0, 1) for c in (0, 1)], dim=-1)
            x = stage.downsample.reduction(stage.downsample.norm(quads.flatten(3)))
    return outputs
