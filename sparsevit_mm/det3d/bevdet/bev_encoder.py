"""The backbone of the bird's-eye-view map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.models.backbones.resnet import BasicBlock
from mmengine.model import BaseModule
from torch import Tensor, nn

from sparsevit_mm.registry import MODELS


@MODELS.register_module()
class BEVResNet(BaseModule):
    """ResNet of basic blocks; every stage halves the map.

    Args:
        in_channels: Channels of the map.
        channels: Channels of each stage; by default 2, 4 and 8 times `in_channels`.
        depths: Blocks of each stage.
        init_cfg: mmengine's initialization config.

    Examples:
        >>> [tuple(level.shape) for level in BEVResNet(64)(torch.rand(1, 64, 128, 128))]
        [(1, 128, 64, 64), (1, 256, 32, 32), (1, 512, 16, 16)]
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int] | None = None,
        depths: Sequence[int] = (2, 2, 2),
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        channels = (
            [2 * in_channels * 2**stage for stage in range(len(depths))]
            if channels is None
            else channels
        )
        stages = []
        for width, depth in zip(channels, depths):
            # The authors' shortcut is a bare convolution with bias, without a norm.
            shortcut = nn.Conv2d(in_channels, width, kernel_size=3, stride=2, padding=1)
            blocks = [BasicBlock(in_channels, width, stride=2, downsample=shortcut)]
            blocks += [BasicBlock(width, width) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
            in_channels = width
        self.layers = nn.ModuleList(stages)

    def forward(self, bev: Tensor) -> list[Tensor]:
        """Computes the maps of all stages.

        Args:
            bev: (B, in_channels, Y, X).

        Returns:
            (B, channels[i], Y / 2**(i + 1), X / 2**(i + 1)) of every stage i.
        """
        maps = []
        for stage in self.layers:
            bev = stage(bev)
            maps.append(bev)
        return maps
