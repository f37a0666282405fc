"""One fine map from a backbone's maps, for detectors of centres such as SMOKE."""

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
    """Adds coarse maps to finer ones down to the finest, which alone is returned.

    MMDetection3D's SMOKE reads a map of stride 4 that its `DLANeck` makes of DLA's six levels. Here
    every level becomes as wide as the result by a 1×1 convolution, is enlarged to the next finer
    one and added to it; a 3×3 convolution follows. All are normed in groups, for the batches of
    such detectors are small.

    Args:
        in_channels: Channels of the maps, from the finest to the coarsest.
        out_channels: Channels of the result.
        num_groups: Groups of a norm; must divide `out_channels`.
        init_cfg: See mmengine.

    Raises:
        ConfigError: If there are no maps, or groups do not divide the channels.

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
        """Joins the maps.

        Args:
            maps: (B, C, H, W) each, from the finest to the coarsest.

        Returns:
            One (B, out_channels, H, W) of the finest map's size.
        """
        levels = [lateral(level) for lateral, level in zip(self.laterals, maps)]
        joined = levels[-1]
        for finer in reversed(levels[:-1]):
            # To the size and not by 2: an odd side is rounded up when it is halved.
            size = finer.shape[2:]
            joined = finer + functional.interpolate(
                joined, size=size, mode='bilinear', align_corners=False
            )
        return (self.smooth(joined),)
