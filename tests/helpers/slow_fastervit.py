"""FasterViT by the definitions, one window and one carrier at a time: slow and plainly right.

Takes the parameters of ours by name and shares no layer with it. Evaluation only. Windows that a
schedule skips are ranked by the L2 norm of their activation.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def slow_forward(net, images):
    """The raw maps of all levels of a FasterViT for (1, 3, H, W) images."""
    weights = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    numbers, ratios = net.arch, net.pruning_schedule.ratios
    x = images
    for conv, norm in ((0, 1), (3, 4)):
        x = F.conv2d(x, weights[f'patch_embed.{conv}.weight'], None, 2, 1)
        x = batch_norm(x, weights, f'patch_embed.{norm}', 1e-4).relu()
    outputs = []
    for level in range(4):
        prefix = f'levels.{level}'
        if level < 2:
            for block in range(numbers.depths[level]):
                x = conv_block(x, weights, f'{prefix}.blocks.{block}')
        else:
            x = attention_level(x, weights, prefix, numbers, level, ratios[level])
        outputs.append(x)
        if level < 3:
            normed = layer_norm(x.permute(0, 2, 3, 1), weights, f'{prefix}.downsample.norm', 1e-6)
            x = F.conv2d(
                normed.permute(0, 3, 1, 2),
                weights[f'{prefix}.downsample.reduction.weight'],
                None,
                2,
                1,
            )
    return outputs


def conv_block(x, weights, name):
    y = F.conv2d(x, weights[f'{name}.conv1.weight'], weights[f'{name}.conv1.bias'], 1, 1)
    y = F.gelu(batch_norm(y, weights, f'{name}.norm1', 1e-5))
    y = F.conv2d(y, weights[f'{name}.conv2.weight'], weights[f'{name}.conv2.bias'], 1, 1)
    y = batch_norm(y, weights, f'{name}.norm2', 1e-5)
    return x + scale(y.permute(0, 2, 3, 1), weights, f'{name}.gamma').permute(0, 3, 1, 2)


def attention_level(x, weights, prefix, numbers, level, ratios):
    """Tokens and carriers are dictionaries from places to vectors; padding is not in them."""
    _, _, height, width = x.shape
    size, ct = numbers.window_size[level], numbers.ct_size
    heads = numbers.num_heads[level]
    rows, cols = math.ceil(height / size), math.ceil(width / size)
    tokens = {(r, c): x[0, :, r, c] for r in range(height) for c in range(width)}
    carriers = None
    if numbers.hat[level]:
        conv = F.conv2d(
            x,
            weights[f'{prefix}.carrier_pooling.conv.weight'],
            weights[f'{prefix}.carrier_pooling.conv.bias'],
            padding=1,
            groups=x.shape[1],
        )[0]
        carriers = pool(conv, rows, cols, size, ct)
    order = None
    for block in range(numbers.depths[level]):
        name = f'{prefix}.blocks.{block}'
        kept = {(row, col) for row in range(rows) for col in range(cols)}
        if ratios[block]:
            order = order or ranked(tokens, rows, cols, size)
            kept = set(order[: max(int(rows * cols * (1 - ratios[block])), 1)])
        tokens = {
            (r, c): token + position(r % size, c % size, size, size, weights, f'{name}.position')
            if (r // size, c // size) in kept
            else token
            for (r, c), token in tokens.items()
        }
        if carriers is not None:
            carriers = carrier_block(
                carriers, rows * ct, cols * ct, weights, f'{name}.carriers', heads
            )
        joined_tokens, joined_carriers = {}, {}
        for row in range(rows):
            for col in range(cols):
                own = []
                if carriers is not None:
                    own = [
                        ('carrier', place)
                        for place in carriers
                        if (place[0] // ct, place[1] // ct) == (row, col)
                    ]
                own += [
                    ('token', place)
                    for place in tokens
                    if (place[0] // size, place[1] // size) == (row, col)
                ]
                if (row, col) not in kept:
                    for kind, place in own:
                        if kind == 'carrier':
                            joined_carriers[place] = carriers[place]
                        else:
                            joined_tokens[place] = tokens[place]
                    continue
                group = torch.stack(
                    [carriers[p] if kind == 'carrier' else tokens[p] for kind, p in own]
                )
                bias = torch.zeros(heads, len(own), len(own))
                for i, (kind_i, p) in enumerate(own):
                    for j, (kind_j, q) in enumerate(own):
                        if kind_i == kind_j == 'token':
                            bias[:, i, j] = offset_bias(
                                p, q, size, size, weights, f'{name}.attn.position_bias'
                            )
                group = residuals(group, bias, weights, name, heads, 'gamma3', 'gamma4')
                for (kind, place), vector in zip(own, group):
                    (joined_carriers if kind == 'carrier' else joined_tokens)[place] = vector
        tokens = joined_tokens
        if carriers is not None:
            carriers = joined_carriers
            if numbers.do_propagation and block == numbers.depths[level] - 1:
                for r, c in tokens:
                    nearest = (
                        r // size * ct + (r % size) * ct // size,
                        c // size * ct + (c % size) * ct // size,
                    )
                    if nearest in carriers:
                        added = scale(carriers[nearest], weights, f'{name}.carriers.gamma1')
                        tokens[r, c] = tokens[r, c] + added
    result = torch.empty_like(x)
    for (r, c), token in tokens.items():
        result[0, :, r, c] = token
    return result


def ranked(tokens, rows, cols, size):
    """Windows (row, column), those of largest activation first."""
    scores = {(row, col): 0.0 for row in range(rows) for col in range(cols)}
    for (r, c), token in tokens.items():
        scores[r // size, c // size] += token.detach().abs().mean().item() ** 2
    return sorted(scores, key=lambda place: -scores[place])


def pool(conv, rows, cols, size, ct):
    """Means over the real tokens in each carrier's span; carriers without one do not exist."""
    _, height, width = conv.shape

    def span(num_windows, carrier):
        side, out = num_windows * size, num_windows * ct
        stride = side // out
        return range(carrier * stride, carrier * stride + side - (out - 1) * stride)

    carriers = {}
    for i in range(rows * ct):
        for j in range(cols * ct):
            real = [
                conv[:, r, c]
                for r in span(rows, i)
                for c in span(cols, j)
                if r < height and c < width
            ]
            if real:
                carriers[i, j] = torch.stack(real).mean(0)
    return carriers


def carrier_block(carriers, height, width, weights, name, heads):
    group = torch.stack(
        [
            carrier + position(r, c, height, width, weights, f'{name}.position')
            for (r, c), carrier in carriers.items()
        ]
    )
    bias = torch.stack(
        [
            torch.stack(
                [
                    offset_bias(p, q, height, width, weights, f'{name}.attn.position_bias')
                    for q in carriers
                ]
            )
            for p in carriers
        ]
    )
    group = residuals(group, bias.permute(2, 0, 1), weights, name, heads, 'gamma1', 'gamma2')
    return dict(zip(carriers, group))


def residuals(x, bias, weights, name, heads, first, second):
    attended = attention(layer_norm(x, weights, f'{name}.norm1'), bias, weights, name, heads)
    x = x + scale(attended, weights, f'{name}.{first}')
    y = F.gelu(linear(layer_norm(x, weights, f'{name}.norm2'), weights, f'{name}.mlp.fc1'))
    return x + scale(linear(y, weights, f'{name}.mlp.fc2'), weights, f'{name}.{second}')


def attention(x, bias, weights, name, heads):
    num, channels = x.shape
    q, k, v = linear(x, weights, f'{name}.attn.qkv').view(num, 3, heads, -1).permute(1, 2, 0, 3)
    scores = q @ k.transpose(-1, -2) * (channels // heads) ** -0.5 + bias
    mixed = (scores.softmax(-1) @ v).transpose(0, 1).reshape(num, channels)
    return linear(mixed, weights, f'{name}.attn.proj')


def position(row, col, height, width, weights, name):
    place = [
        (i - side // 2) / (side // 2) if side > 1 else 0.0
        for i, side in ((row, height), (col, width))
    ]
    return position_mlp(torch.tensor(place), weights, name)


def offset_bias(p, q, height, width, weights, name):
    offset = []
    for a, b, side in ((p[0], q[0], height), (p[1], q[1], width)):
        relative = (a - b) / (side - 1) * 8 if side > 1 else 0.0
        offset.append(math.copysign(math.log2(abs(relative) + 1) / math.log2(8), relative))
    return 16 * position_mlp(torch.tensor(offset), weights, name).sigmoid()


def position_mlp(place, weights, name):
    hidden = linear(place, weights, f'{name}.cpb_mlp.0').relu()
    return F.linear(hidden, weights[f'{name}.cpb_mlp.2.weight'])


def linear(x, weights, name):
    return F.linear(x, weights[f'{name}.weight'], weights[f'{name}.bias'])


def layer_norm(x, weights, name, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], weights[f'{name}.weight'], weights[f'{name}.bias'], eps)


def batch_norm(x, weights, name, eps):
    return F.batch_norm(
        x,
        weights[f'{name}.running_mean'],
        weights[f'{name}.running_var'],
        weights[f'{name}.weight'],
        weights[f'{name}.bias'],
        eps=eps,
    )


def scale(x, weights, name):
    return x * weights[name] if name in weights else x
