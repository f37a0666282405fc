"""Image -> tokens, and four tokens -> one: the dense steps between window stages.

`PatchMerging` orders the four neighbours of a channel as MMDetection does (channel first); files
with Microsoft's order are permuted when they are loaded.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsevit_mm.ops.exporting import is_certain
from sparsevit_mm.ops.in_parts import computes_in_parts, norm_tokens, parts
from sparsevit_mm.ops.linear import Linear, linear

_MERGED_AT_ONCE = 2**21
"""Bytes of tokens."""


class PatchEmbed(nn.Module):
    """Embeds non-overlapping patches of an image (Swin).

    Args:
        in_channels: Channels of the image.
        embed_dims: Channels of a token.
        patch_size: Side of a patch in pixels.
        norm: Norm over the channels of a token, or None.
    """

    def __init__(
        self, in_channels: int, embed_dims: int, patch_size: int, norm: nn.Module | None
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.projection = nn.Conv2d(in_channels, embed_dims, patch_size, patch_size)
        self.norm = norm

    def forward(self, images: Tensor) -> tuple[Tensor, int, int]:
        """Embeds a batch; sizes that are no multiple of the patch are zero-padded.

        Args:
            images: (B, in_channels, H, W).

        Returns:
            (B * H' * W', embed_dims) tokens, H' and W'.
        """
        height, width = images.shape[-2:]
        pad_bottom, pad_right = -height % self.patch_size, -width % self.patch_size
        if not (is_certain(pad_bottom == 0) and is_certain(pad_right == 0)):
            images = F.pad(images, (0, pad_right, 0, pad_bottom))
        # Channels-last, the convolution writes tokens: nothing is left to transpose.
        feature_map = self.projection(images.contiguous(memory_format=torch.channels_last))
        height, width = feature_map.shape[-2:]
        tokens = feature_map.permute(0, 2, 3, 1).reshape(-1, feature_map.shape[1])
        return tokens if self.norm is None else norm_tokens(tokens, self.norm), height, width


class PatchMerging(nn.Module):
    """Joins 2 x 2 neighbouring tokens into one of twice the channels (Swin).

    Args:
        embed_dims: Channels C of a token.
        norm: Layer norm over 4 C channels, or None.
    """

    def __init__(self, embed_dims: int, norm: nn.LayerNorm | None) -> None:
        super().__init__()
        self.norm = norm
        self.reduction = Linear(4 * embed_dims, 2 * embed_dims, bias=False)

    def forward(self, tokens: Tensor, batch_size: int, height: int, width: int) -> Tensor:
        """Merges; odd sizes are zero-padded.

        Args:
            tokens: (B * H * W, C).
            batch_size: Images B.
            height: Height H of the map in tokens.
            width: Width W of the map in tokens.

        Returns:
            (B * ceil(H / 2) * ceil(W / 2), 2 * C).
        """
        feature_map = tokens.view(batch_size, height, width, -1)
        if not (is_certain(height % 2 == 0) and is_certain(width % 2 == 0)):
            feature_map = F.pad(feature_map, (0, 0, 0, width % 2, 0, height % 2))
        rows, cols = (height + 1) // 2, (width + 1) // 2
        pairs = feature_map.view(batch_size * rows, 2, cols, 2, -1)
        # Whole tokens are copied and the parameters permuted to match: they are far fewer numbers.
        weight = _channel_last(self.reduction.weight)
        if not computes_in_parts(tokens):
            return linear(self._quads(pairs), weight)
        merged = tokens.new_empty(batch_size * rows * cols, weight.shape[0])
        first = 0
        for part in parts(pairs, _MERGED_AT_ONCE):
            products = linear(self._quads(part), weight)
            merged[first : first + len(products)] = products
            first += len(products)
        return merged

    def _quads(self, pairs: Tensor) -> Tensor:
        """(rows * cols, 4 C) normed neighbours of (rows, 2, cols, 2, C) tokens."""
        quads = pairs.transpose(1, 2).reshape(pairs.shape[0] * pairs.shape[2], -1)
        if self.norm is None:
            return quads
        weight, bias = _channel_last(self.norm.weight), _channel_last(self.norm.bias)
        return F.layer_norm(quads, self.norm.normalized_shape, weight, bias, self.norm.eps)


def _channel_last(parameter: Tensor) -> Tensor:
    """(..., 4 C), the four neighbours of a channel in a row, to the channels of each neighbour."""
    return parameter.unflatten(-1, (-1, 4)).transpose(-1, -2).flatten(-2)
