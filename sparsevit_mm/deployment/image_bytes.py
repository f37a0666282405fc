"""Puts the normalization of a model's data preprocessor in front of it, so that it takes bytes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class FromBytes(nn.Module):
    """A module that takes images as they are decoded, instead of normalized ones.

    Args:
        module: The module; what it takes are (B, C, H, W) normalized images.
        preprocessor: mmengine's `ImgDataPreprocessor` or a framework's.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, module: nn.Module, preprocessor: Any) -> None:
        super().__init__()
        self.module = module
        mean, std, self.is_bgr = normalization(preprocessor)
        self.register_buffer('mean', torch.tensor(mean).reshape(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).reshape(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor, *others: Tensor) -> Any:
        """Takes (B, H, W, C) uint8 images; three channels are red, green and blue.

        Args:
            images: The images.
            *others: What the module takes besides.
        """
        images = images.permute(0, 3, 1, 2).float()
        if self.is_bgr and images.shape[1] == 3:
            images = images.flip(1)
        return self.module((images - self.mean) / self.std, *others)


def normalization(preprocessor: Any) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    """What a data preprocessor does to the values of an image, which pipelines load as BGR.

    Args:
        preprocessor: mmengine's `ImgDataPreprocessor` or a framework's.

    Returns:
        Mean and standard deviation of every channel, in the network's order; and whether that order
        is blue, green, red.
    """
    is_bgr = not getattr(preprocessor, '_channel_conversion', False)
    if not getattr(preprocessor, '_enable_normalize', False):
        return (0.0,), (1.0,), is_bgr
    mean, std = (tuple(value.flatten().tolist()) for value in (preprocessor.mean, preprocessor.std))
    return mean, std, is_bgr
