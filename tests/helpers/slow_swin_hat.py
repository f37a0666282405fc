"""SwinHAT computed the slow, obvious way: everything is computed, then masked.

Blocks work on whole maps, with `roll`, `pad` and reshapes. The parameters are those of a `SwinHAT`;
of its code only pooling and attention among carriers are used, which have tests of their own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from sparsevit_mm.ops.windows import WindowGrid
from tests.helpers.masked_dense import bias, kept_tokens, region_mask, to_map, to_windows


def block(net, blk, x, carriers, hidden):
    """One block on the whole map x (B, H, W, C) with carriers (B, windows, K, C)."""
    size, shift = net.arch.window_size, blk.shift
    b, h, w, c = x.shape
    count = 0 if carriers is None else carriers.shape[2]

    def cut(maps):
        padded = F.pad(maps, (0, 0, 0, -w % size, 0, -h % size))
        return to_windows(torch.roll(padded, (-shift, -shift), (1, 2)), size)

    own, y = cut(x), cut(blk.norm1(x))
    if carriers is not None:
        own, y = torch.cat([carriers, own], 2), torch.cat([blk.norm1(carriers), y], 2)
    attn = blk.attn['w_msa']
    heads = attn.num_heads
    q, k, v = attn.qkv(y).view(*y.shape[:3], 3, heads, c // heads).permute(3, 0, 1, 4, 2, 5)
    scores = q @ k.transpose(-1, -2) / (c // heads) ** 0.5
    scores[..., count:, count:] += bias(attn.relative_position_bias_table, size)
    padded_h, padded_w = h + -h % size, w + -w % size
    if shift:
        mask = region_mask(padded_h, padded_w, size, shift).to(x)
        scores[..., count:, count:] += mask[:, None]
    if hidden is not None:
        scores[..., :count] += torch.where(hidden, -torch.inf, 0.0)[None, :, None, None].to(x)
    y = attn.proj((scores.softmax(-1) @ v).transpose(2, 3).reshape(y.shape))
    joined = own + y
    joined = joined + blk.ffn['layers'](blk.norm2(joined))
    tokens = to_map(joined[:, :, count:], size, padded_h, padded_w)
    tokens = torch.roll(tokens, (shift, shift), (1, 2))[:, :h, :w]
    return tokens, joined[:, :, :count]


def slow_forward(net, images):
    """The outputs of `net` on `images`, whose sides are multiples of the patch."""
    size, ct = net.arch.window_size, net.arch.ct_size
    x = net.patch_embed.projection(images).permute(0, 2, 3, 1)
    x = net.patch_embed.norm(x)
    outputs = []
    for number, (stage, ratios) in enumerate(zip(net.stages, net.pruning_schedule.ratios)):
        b, h, w, _ = x.shape
        grid = WindowGrid(h, w, size)
        carriers = scored = hidden = None
        if net.arch.hat[number]:
            carriers = stage.carrier_pooling(x.permute(0, 3, 1, 2), grid)
            pooled_ones = stage_of_ones(stage, grid)
            if (pooled_ones == 0).any():
                hidden = pooled_ones == 0
        for blk, ratio in zip(stage.blocks, ratios):
            own = None
            if carriers is not None:
                carriers = blk.carriers(carriers, None if hidden is None else hidden.flatten())
                own = to_windows(carriers, ct)
            of_windows = (
                None if hidden is None else to_windows(hidden[None, ..., None], ct)[0, ..., 0]
            )
            computed, carried = block(net, blk, x, own, of_windows)
            if ratio > 0:
                scored = x.detach() if scored is None else scored
                chosen = (scored, ratio, size, blk.shift, net.allocation.group_size)
                mask = kept_tokens(*chosen)
                computed = torch.where(mask, computed, x)
                if own is not None:
                    kept = kept_windows(*chosen)
                    carried = torch.where(kept[:, :, None, None], carried, own)
            x = computed
            if own is not None:
                carriers = to_map(carried, ct, grid.rows * ct, grid.cols * ct)
        outputs.append(getattr(net, f'norm{number}')(x).permute(0, 3, 1, 2))
        if stage.downsample is not None:
            x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
            quads = torch.stack([x[:, r::2, c::2] for r in (0, 1) for c in (0, 1)], dim=-1)
            x = stage.downsample.reduction(stage.downsample.norm(quads.flatten(3)))
    return outputs


def kept_windows(scored, ratio, size, shift, group_size):
    """(B, windows) which windows stay: those whose any token is kept in the padded, rolled map."""
    _, h, w, _ = scored.shape
    mask = kept_tokens(scored, ratio, size, shift, group_size).float()
    mask = F.pad(mask, (0, 0, 0, -w % size, 0, -h % size))
    return to_windows(torch.roll(mask, (-shift, -shift), (1, 2)), size).amax((2, 3)).bool()


def stage_of_ones(stage, grid):
    """(rows, cols) what carriers pool where every token is 1: 0 for carriers of padding alone."""
    size, ct = grid.window_size, stage.carrier_pooling.ct_size
    sides = []
    for real, windows in ((grid.height, grid.rows), (grid.width, grid.cols)):
        stride = windows * size // (windows * ct)
        kernel = windows * size - (windows * ct - 1) * stride
        line = torch.zeros(windows * size)
        line[:real] = 1
        sides.append(line.unfold(0, kernel, stride).sum(1))
    return sides[0][:, None] * sides[1][None, :]
