"""Token-wise layers of a whole map, part by part, in inference on a CPU.

A part stays in the cache from one layer to the next and its memory is used again for the next one,
while every new tensor of a map's size is memory that the system has to hand out page by page.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparsevit_mm.ops.compat import autocast_dtype
from sparsevit_mm.ops.exporting import in_graph

_BYTES = 2**17


def computes_in_parts(tokens: Tensor) -> bool:
    """Whether what follows from these tokens is better computed part by part."""
    return (
        tokens.device.type == 'cpu'
        and tokens.numel() > 0
        and not torch.is_grad_enabled()
        and autocast_dtype('cpu') is None
        and not in_graph()
    )


def parts(rows: Tensor, num_bytes: int = _BYTES) -> tuple[Tensor, ...]:
    """Cuts along the first dimension into parts of about so many bytes, at least one row each."""
    row_bytes = rows[0].numel() * rows.element_size()
    return rows.split(max(1, num_bytes // row_bytes))


def norm_tokens(tokens: Tensor, norm: nn.Module) -> Tensor:
    """Norms tokens that nothing else needs; in inference on a CPU, in place.

    Args:
        tokens: (T, C).
        norm: A norm of tokens.

    Returns:
        (T, C).
    """
    if not computes_in_parts(tokens):
        return norm(tokens)
    for part in parts(tokens):
        part.copy_(norm(part))
    return tokens


def normed_map(tokens: Tensor, norm: nn.Module, batch_size: int, height: int, width: int) -> Tensor:
    """The normed tokens as a map, with the numbers of each channel side by side in memory.

    Args:
        tokens: (B * H * W, C).
        norm: A norm of tokens.
        batch_size: Images B.
        height: Height H of the map in tokens.
        width: Width W of the map in tokens.

    Returns:
        (B, C, H, W), contiguous.
    """
    if not computes_in_parts(tokens):
        normed = norm(tokens).view(batch_size, height, width, -1)
        return channels_first(normed.permute(0, 3, 1, 2))
    images = tokens.view(batch_size, height * width, -1)
    out = tokens.new_empty(batch_size, images.shape[2], height * width)
    for image, made in zip(images, out):
        first = 0
        for part in parts(image):
            made[:, first : first + len(part)] = norm(part).t()
            first += len(part)
    return out.view(batch_size, -1, height, width)


def channels_first(feature_map: Tensor) -> Tensor:
    """The same map with the numbers of each channel side by side in memory.

    Args:
        feature_map: (B, C, H, W) of any layout; channels-last is what tokens give.

    Returns:
        (B, C, H, W), contiguous.
    """
    transposes = (
        not in_graph()
        and feature_map.device.type == 'cpu'
        and feature_map.is_contiguous(memory_format=torch.channels_last)
    )
    if not transposes or feature_map.numel() == 0:
        return feature_map.contiguous()
    # On a CPU, PyTorch transposes matrices block by block, but maps number by number.
    tokens = feature_map.permute(0, 2, 3, 1).flatten(1, 2)
    images = [image.t().contiguous() for image in tokens]
    together = images[0][None] if len(images) == 1 else torch.stack(images)
    return together.view(feature_map.shape)
