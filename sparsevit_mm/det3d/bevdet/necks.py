"""Necks of BEVDet, for the feature maps of the images and of the bird's-eye view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.registry import MODELS


@MODELS.register_module()
class FPNLSS(BaseModule):
    """Fuses two maps of different resolution (`FPN_LSS` of BEVDet's authors).

    Resizes the coarser map to the size of the finer one, concatenates both and applies two 3×3
    convolutions. With `upsample` > 1 these are twice as wide, and the result is upsampled by it.

    Args:
        in_channels: Channels of the finer and of the coarser map.
        out_channels: Channels of the output.
        in_indices: Indices of the finer and the coarser map among the inputs.
        upsample: Size of the output relative to the finer map; 1 leaves the upsampling layers out.
        init_cfg: mmengine's initialization config.

    Examples:
        >>> neck = FPNLSS((384, 768), 512)
        >>> neck([torch.rand(1, 384, 16, 44), torch.rand(1, 768, 8, 22)]).shape
        torch.Size([1, 512, 16, 44])
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        in_indices: Sequence[int] = (0, -1),
        upsample: int = 1,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if len(in_channels) != 2 or len(in_indices) != 2:
            raise ConfigError(
                f'in_channels is {tuple(in_channels)} and in_indices {tuple(in_indices)}, but both '
                'must be two numbers: of the finer and of the coarser map.'
            )
        self.in_indices = tuple(in_indices)
        self.upsample = upsample
        middle = out_channels * (2 if upsample > 1 else 1)
        self.conv = nn.Sequential(
            *_conv_bn_relu(sum(in_channels), middle), *_conv_bn_relu(middle, middle)
        )
        if upsample > 1:
            self.up2 = nn.Sequential(
                nn.Upsample(scale_factor=upsample, mode='bilinear', align_corners=True),
                *_conv_bn_relu(middle, out_channels),
                nn.Conv2d(out_channels, out_channels, kernel_size=1),
            )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Computes the output map.

        Args:
            maps: (B, C, H, W) each, from the finest to the coarsest.

        Returns:
            (B, out_channels, upsample * H, upsample * W), where the finer map is H × W.
        """
        finer, coarser = (maps[index] for index in self.in_indices)
        # To this size, not by a factor of 2: halving an odd side rounds it up.
        coarser = functional.interpolate(
            coarser, size=finer.shape[2:], mode='bilinear', align_corners=True
        )
        joined = self.conv(torch.cat([finer, coarser], dim=1))
        return self.up2(joined) if self.upsample > 1 else joined


@MODELS.register_module()
class OneLevelFPN(BaseModule):
    """A feature pyramid that outputs only its finest level (BEVDet-R50's image neck).

    MMDetection's `FPN` could output one level of two inputs only with unused layers.

    Args:
        in_channels: Channels of the maps, from the finest to the coarsest.
        out_channels: Channels of the output.
        init_cfg: mmengine's initialization config; by default that of MMDetection's `FPN`.

    Examples:
        >>> neck = OneLevelFPN((1024, 2048), 512)
        >>> neck([torch.rand(1, 1024, 16, 44), torch.rand(1, 2048, 8, 22)]).shape
        torch.Size([1, 512, 16, 44])
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        init_cfg: Any = None,
    ) -> None:
        usual = dict(type='Xavier', layer='Conv2d', distribution='uniform')
        super().__init__(init_cfg=init_cfg or usual)
        self.lateral_convs = nn.ModuleList(
            ConvModule(channels, out_channels, kernel_size=1, act_cfg=None)
            for channels in in_channels
        )
        self.fpn_convs = nn.ModuleList(
            [ConvModule(out_channels, out_channels, kernel_size=3, padding=1, act_cfg=None)]
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Computes the finest level.

        Args:
            maps: (B, C, H, W) each, from the finest to the coarsest.

        Returns:
            (B, out_channels, H, W) of the finest map's size.
        """
        laterals = [conv(level) for conv, level in zip(self.lateral_convs, maps)]
        joined = laterals[-1]
        for lateral in reversed(laterals[:-1]):
            joined = lateral + functional.interpolate(joined, size=lateral.shape[2:])
        return self.fpn_convs[0](joined)


def _conv_bn_relu(in_channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
