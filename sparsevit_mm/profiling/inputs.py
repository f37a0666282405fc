"""Channels, type, size and device of the input that a network is measured on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import torch
from torch import nn

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.prunable import predicting_backbone

DTYPES = {'float32': torch.float32, 'float16': torch.float16, 'bfloat16': torch.bfloat16}
"""Types that networks are timed in, by name."""


_BACKBONES = ('backbone', 'img_backbone')


def input_channels(model: nn.Module) -> int:
    """Number of channels of the images that a network takes.

    Args:
        model: A backbone, or a model with one.

    Returns:
        The input channels of the backbone's first convolution; 3 if it has none.
    """
    backbones = (
        part for name, part in model.named_modules() if name.rpartition('.')[2] in _BACKBONES
    )
    for part in next(backbones, model).modules():
        if isinstance(part, nn.Conv2d):
            # YOLOX and others first fold 2 x 2 pixels into the channels of one.
            return part.in_channels // (4 if _is_folded(model, part) else 1)
    return 3


def _is_folded(model: nn.Module, convolution: nn.Conv2d) -> bool:
    return any(
        type(part).__name__ == 'Focus' and convolution in part.modules() for part in model.modules()
    )


class _InputSeenError(Exception):
    """Ends a forward once the size of the backbone's input is known."""


@torch.no_grad()
def backbone_input_shape(model: nn.Module, batch: Any) -> tuple[int, int]:
    """Height and width in pixels of what the backbone of a model sees of a batch.

    Args:
        model: A model with a prunable backbone, in evaluation mode; it runs up to the backbone.
        batch: What its `test_step` takes.
    """
    seen: list[tuple[int, int]] = []

    def stop(_: nn.Module, inputs: Any) -> None:
        seen.append(tuple(inputs[0].shape[-2:]))
        raise _InputSeenError

    handle = predicting_backbone(model).register_forward_pre_hook(stop)
    try:
        with suppress(_InputSeenError):
            model.test_step(batch)  # type: ignore[operator]
    finally:
        handle.remove()
    return seen[0]


def conditions(
    height: int,
    width: int,
    batch: int = 1,
    dtype: str = 'float32',
    device: torch.device | str = 'cpu',
) -> str:
    """What a figure holds for, to stand beside it: input, type, device and library.

    Args:
        height: Height of the network's input in pixels.
        width: Width of the network's input in pixels.
        batch: Number of images.
        dtype: Name of the type it is computed in.
        device: Where it is computed.
    """
    place = torch.device(device)
    if place.type == 'cuda':
        where = torch.cuda.get_device_name(place)
    else:
        where = f'{place.type}, {torch.get_num_threads()} threads'
    return f'{batch} x {height} x {width}, {dtype}, {where}, torch {torch.__version__}'


def check_dtype(name: str) -> torch.dtype:
    """The type of a name.

    Args:
        name: A key of `DTYPES`.

    Raises:
        ConfigError: If there is no such type.
    """
    if name not in DTYPES:
        raise ConfigError(f'dtype is {name!r}, but must be one of {", ".join(DTYPES)}.')
    return DTYPES[name]


def computing_in(name: str, device: str) -> AbstractContextManager[Any]:
    """Computes in mixed precision of a type; for float32, in no other way than before.

    Args:
        name: A key of `DTYPES`.
        device: Type of the device, such as 'cpu'.

    Raises:
        ConfigError: If there is no such type, or this torch does not compute it on the device.
    """
    dtype = check_dtype(name)
    if dtype == torch.float32:
        return nullcontext()
    try:
        with torch.autocast(device, dtype):
            pass
    except RuntimeError:  # float16 on a CPU, before torch 2.2
        raise ConfigError(
            f'dtype is {name!r}, which torch {torch.__version__} does not compute on a {device}.'
        ) from None
    return torch.autocast(device, dtype)


def check_shape(height: int, width: int, batch: int) -> None:
    """Checks that a batch of images holds pixels.

    Args:
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        batch: Number of images.

    Raises:
        ConfigError: If a number is not positive.
    """
    if min(height, width, batch) < 1:
        raise ConfigError(
            f'the input is {batch} x {height} x {width} (batch, height, width), but all must be '
            'positive.'
        )


def check_device(name: str | None) -> torch.device:
    """The device of a name.

    Args:
        name: Such as 'cpu' or 'cuda:0'; None is a GPU if there is one, else the CPU.

    Raises:
        ConfigError: If there is no such device on this machine.
    """
    usual = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        device = torch.device(name or usual)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise ConfigError(
            f'device is {name}, but must be one of this machine, such as {usual}.'
        ) from None
    return device
