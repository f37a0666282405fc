"""A neck with one fine output map, for center-based detectors such as SMOKE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.registry import MODELS


@MODELS.register_module()
class TopDownNeck(BaseModule):
    """Fuses the maps of a backbone from coarse to fine and returns the finest.

    MMDetection3D's SMOKE reads a map of stride 4, which its `DLANeck` makes of DLA's six levels;
    this neck makes it of the maps of any backbone. Each map passes a 1×1 convolution to
    `out_channels`; from the coarsest on, it is upsampled to the next finer map and added to it; a
    3×3 convolution follows. Norms are group norms, because such detectors train with small batches.

    Args:
        in_channels: Channels of the maps, from the finest to the coarsest.
        out_channels: Channels of the output.
        num_groups: Groups of each norm; must divide `out_channels`.
        init_cfg: mmengine's initialization config.

    Raises:
        ConfigError: If `in_channels` is empty, or `num_groups` does not divide `out_channels`.

    Examples:
        >>> neck = TopDownNeck((96, 192, 384, 768))
        >>> maps = [torch.rand(1, 96 * 2**n, 96 // 2**n, 320 // 2**n) for n in range(4)]
        >>> neck(maps)[0].shape
        torch.Size([1, 64, 96, 320])
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 64,
        num_groups: int = 32,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if not in_channels:
            raise ConfigError('in_channels is empty, but must name the channels of every map.')
        if num_groups < 1 or out_channels % num_groups:
            raise ConfigError(
                f'num_groups is {num_groups}, but must divide out_channels, {out_channels}.'
            )
        self.laterals = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, out_channels, kernel_size=1, bias=False),
                nn.GroupNorm(num_groups, out_channels),
            )
            for channels in in_channels
        )
        self.smooth = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.GroupNorm(num_groups, out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor]:
        """Computes the output map.

        Args:
            maps: (B, C, H, W) each, from the finest to the coarsest.

        Returns:
            One map (B, out_channels, H, W) of the finest map's size.
        """
        levels = [lateral(level) for lateral, level in zip(self.laterals, maps)]
        joined = levels[-1]
        for finer in reversed(levels[:-1]):
            # To this size, not by a factor of 2: halving an odd side rounds it up.
            size = finer.shape[2:]
            joined = finer + functional.interpolate(
                joined, size=size, mode='bilinear', align_corners=False
            )
        return (self.smooth(joined),)
