"""What is computed token by token: products with weights, norms, residual connections.

Modules are called as modules, so hooks, adapters and pruning masks on them take effect. A kernel
takes a module's place only where nothing of that kind is on it, see `backend.is_plain`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsevit_mm.ops.backend import (
    HAS_ONEDNN,
    autocast_dtype,
    chunk_bytes,
    in_graph,
    is_plain,
    use_chunks,
    use_onednn,
    use_triton,
)
from sparsevit_mm.ops.compat import is_compiling
from sparsevit_mm.ops.operators import define
from sparsevit_mm.ops.windows import MapWindows, Windows

_CHUNK_BYTES = 2**17
"""Bytes of tokens that a thread norms at a time in inference on a CPU."""


def linear(layer: nn.Module, rows: Tensor) -> Tensor:
    """A linear layer, computed by oneDNN where that is faster.

    PyTorch takes MKL's products, which leave the AVX-512 units of AMD's processors idle. oneDNN,
    which computes PyTorch's convolutions, does not.

    Args:
        layer: An `nn.Linear`, or what has taken its place.
        rows: (..., I).

    Returns:
        (..., O).
    """
    if use_onednn(rows) and is_plain(layer, nn.Linear):
        return _by_onednn(rows, layer.weight, layer.bias)
    out: Tensor = layer(rows)
    return out


def product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A product with a weight, computed by oneDNN where that is faster, see `linear`.

    Args:
        rows: (..., I).
        weight: (O, I).
        bias: (O,); None for none.

    Returns:
        (..., O).
    """
    return _by_onednn(rows, weight, bias) if use_onednn(rows) else F.linear(rows, weight, bias)


def _by_onednn(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if is_compiling():
        return _in_graphs(rows, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, 'none', [], '')


if HAS_ONEDNN:
    # torch's compiler takes oneDNN's own operator with weights that it has packed itself only.
    _in_graphs = define(
        'linear(Tensor rows, Tensor weight, Tensor? bias) -> Tensor',
        lambda rows, weight, bias: torch.ops.mkldnn._linear_pointwise(
            rows, weight, bias, 'none', [], ''
        ),
        lambda rows, weight, bias: rows.new_empty(*rows.shape[:-1], weight.shape[0]),
    )


def apply_layers(layers: nn.Module, rows: Tensor) -> Tensor:
    """Layers one after the other, linear ones by `linear`.

    Args:
        layers: An `nn.Sequential`, nested or not, or what has taken its place.
        rows: (..., I).

    Returns:
        (..., O).
    """
    if not is_plain(layers, nn.Sequential):
        out: Tensor = layers(rows)
        return out
    for layer in layers:
        if isinstance(layer, nn.Sequential):
            rows = apply_layers(layer, rows)
        else:
            rows = linear(layer, rows) if isinstance(layer, nn.Linear) else layer(rows)
    return rows


def norm_windows(
    own: Tensor | MapWindows, norm: nn.Module, windows: Windows, zero_padding: bool
) -> Tensor:
    """Norms the tokens of windows.

    Args:
        own: (W, N, C) windows, or windows that are still in their map.
        norm: The norm.
        windows: Where they lie.
        zero_padding: Whether padding is 0 after the norm; else it was 0 before.

    Returns:
        (W, N, C).
    """
    if isinstance(own, MapWindows):
        if is_plain(norm, nn.LayerNorm):
            from sparsevit_mm.ops.triton.gather_norm import gather_norm

            return gather_norm(
                own.tokens,
                windows,
                norm.weight,
                norm.bias,
                norm.eps,
                zero_padding=zero_padding,
                dtype=_product_dtype(own.tokens),
            )
        own = own.read()
    normed: Tensor = norm(own)
    if not zero_padding:
        return normed
    padding = windows.maps.padding
    return normed if padding is None else normed.masked_fill(padding, 0)


def add_and_norm(
    own: Tensor | MapWindows,
    branch: Tensor,
    norm: nn.Module,
    windows: Windows | None = None,
    drop_rate: float = 0.0,
    factors: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Adds a residual branch and norms the sum.

    Args:
        own: (W, N, C) windows or images, or windows that are still in their map.
        branch: (W, N, C).
        norm: The norm.
        windows: Where the windows lie; None if each of the W is an image.
        drop_rate: Stochastic depth, see `drop_path`.
        factors: (C,) factors on the branch (layer scale); None for no factors.

    Returns:
        The sum and the normed sum, (W, N, C) each.
    """
    if drop_rate == 0 and use_triton(branch) and is_plain(norm, nn.LayerNorm):
        from sparsevit_mm.ops.triton.residual_norm import residual_norm

        tokens, windows = own if isinstance(own, MapWindows) else (own, None)
        return residual_norm(
            tokens.contiguous(),
            branch.contiguous(),
            norm.weight,
            norm.bias,
            norm.eps,
            factors=factors,
            windows=windows,
            dtype=_product_dtype(tokens),
        )
    if isinstance(own, MapWindows):
        own = own.read()
    branch = branch if factors is None else branch * factors
    total = own + (drop_path(branch, drop_rate, windows) if drop_rate else branch)
    return total, norm(total)


def drop_path(branch: Tensor, rate: float, windows: Windows | None = None) -> Tensor:
    """Stochastic depth: drops a residual branch for whole images and rescales the others.

    All windows of an image share their fate, as all tokens of an image do in Swin.

    Args:
        branch: (W, ...) windows or images.
        rate: Probability of dropping the branch of an image, 0 <= rate < 1.
        windows: Where the windows lie; None if each of the W is an image.

    Returns:
        (W, ...), the same in expectation.
    """
    keep = 1 - rate
    batch_size = len(branch) if windows is None else windows.batch_size
    factors = branch.new_empty(batch_size).bernoulli_(keep).div_(keep)
    if windows is not None:
        factors = factors.index_select(0, windows.image_index)
    return branch * factors.view(-1, *[1] * (branch.ndim - 1))


def norm_tokens(tokens: Tensor, norm: nn.Module) -> Tensor:
    """Norms tokens that nothing else needs; in inference on a CPU, in place.

    Args:
        tokens: (T, C).
        norm: A norm of tokens.

    Returns:
        (T, C).
    """
    if not use_chunks(tokens):
        return norm(tokens)
    for chunk in chunks(tokens, chunk_bytes(_CHUNK_BYTES)):
        chunk.copy_(norm(chunk))
    return tokens


def norm_to_nchw(
    tokens: Tensor, norm: nn.Module, batch_size: int, height: int, width: int
) -> Tensor:
    """Norms tokens and returns them as contiguous NCHW.

    Args:
        tokens: (B * H * W, C).
        norm: A norm of tokens.
        batch_size: Images B.
        height: Height H of the map in tokens.
        width: Width W of the map in tokens.

    Returns:
        (B, C, H, W), contiguous.
    """
    if not use_chunks(tokens):
        normed = norm(tokens).view(batch_size, height, width, -1)
        return to_nchw(normed.permute(0, 3, 1, 2))
    images = tokens.view(batch_size, height * width, -1)
    out = tokens.new_empty(batch_size, images.shape[2], height * width)
    for image, made in zip(images, out):
        first = 0
        for chunk in chunks(image, chunk_bytes(_CHUNK_BYTES)):
            made[:, first : first + len(chunk)] = norm(chunk).t()
            first += len(chunk)
    return out.view(batch_size, -1, height, width)


def norm_to_channels_last(
    tokens: Tensor, norm: nn.Module, batch_size: int, height: int, width: int
) -> Tensor:
    """Norms tokens and returns them as a channels-last map, for which none of them moves.

    Args:
        tokens: (B * H * W, C).
        norm: A norm of tokens.
        batch_size: Images B.
        height: Height H of the map in tokens.
        width: Width W of the map in tokens.

    Returns:
        (B, C, H, W), channels-last.
    """
    return norm(tokens).view(batch_size, height, width, -1).permute(0, 3, 1, 2)


def to_nchw(feature_map: Tensor) -> Tensor:
    """Returns the map as contiguous NCHW.

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


def chunks(rows: Tensor, num_bytes: int) -> tuple[Tensor, ...]:
    """Cuts along the first dimension into chunks of about so many bytes, at least one row each."""
    row_bytes = rows[0].numel() * rows.element_size()
    return rows.split(max(1, num_bytes // row_bytes))


def _product_dtype(tokens: Tensor) -> torch.dtype:
    """In which dtype a matrix product takes these tokens."""
    return autocast_dtype(tokens.device.type) or tokens.dtype
