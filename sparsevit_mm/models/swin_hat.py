"""Swin with carrier tokens: FasterViT's hierarchical attention as a plug-in.

The paper puts its attention into Swin and reports gains; how exactly is not known here. Chosen:

- every block of a stage with carriers keeps Swin's window, shift, relative position bias and edge
  masks, so a Swin checkpoint still means what it meant;
- before it, the carriers of the image attend to each other (`CarrierBlock`); then each window
  attends over its carriers and its tokens, and Swin's FFN serves both;
- a window keeps its number, and so its carriers, when the grid is shifted; carriers see all sides
  of an edge, for they have just seen the whole image anyway;
- nothing is added to the tokens at the end of a stage.

Parameters are those of `swin` and, in stages with carriers, `carrier_pooling` and
`blocks.j.carriers`, which begin at random. Renaming one breaks users' checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.carrier_tokens import (
    POOLINGS,
    CarrierBlock,
    CarrierPooling,
    hidden_carriers,
    hidden_keys,
    hide,
)
from sparsevit_mm.models.swin import SwinBackbone, SwinBlock, SwinStage
from sparsevit_mm.models.window_attention import WindowCarriers
from sparsevit_mm.ops.window_grid import WindowGrid
from sparsevit_mm.ops.window_partition import join_windows, split_windows
from sparsevit_mm.ops.windows import gather_windows, locate_windows, scatter_windows
from sparsevit_mm.registry import MODELS


@MODELS.register_module()
class SwinHAT(SwinBackbone):
    """Swin Transformer whose windows carry FasterViT's carrier tokens in chosen stages.

    Args:
        arch: 'tiny', 'small', 'base' or 'large'; `embed_dims`, `depths`, `num_heads` and `width`
            replace its numbers.
        hat: Which stages have carrier tokens.
        ct_size: Side of a window's carrier tokens.
        layer_scale: Initial value of the factors on the carriers' own branches; None for no
            factors.
        carrier_pooling: 'authors' or 'centred', see `CarrierPooling`.
        **swin: Further arguments of `SwinBackbone`.

    Raises:
        ConfigError: If an argument is outside what is allowed.

    Examples:
        >>> backbone = SwinHAT(arch='tiny', hat=(False, False, True, False))
        >>> [tuple(level.shape) for level in backbone(torch.rand(1, 3, 224, 320))]
        [(1, 96, 56, 80), (1, 192, 28, 40), (1, 384, 14, 20), (1, 768, 7, 10)]
    """

    own_parameters = r'\.carriers\.|\.carrier_pooling\.'

    def __init__(
        self,
        arch: str = 'tiny',
        *,
        hat: Sequence[bool] = (False, False, True, False),
        ct_size: int = 2,
        layer_scale: float | None = None,
        carrier_pooling: str = 'authors',
        **swin: Any,
    ) -> None:
        super().__init__(arch, **swin)
        if len(hat) != len(self.arch.depths):
            raise ConfigError(
                f'hat is {tuple(hat)}, but it must hold one entry for each of the '
                f'{len(self.arch.depths)} stages.'
            )
        if not 1 <= ct_size <= self.arch.window_size:
            raise ConfigError(
                f'ct_size is {ct_size}, but it must lie between 1 and the window_size, '
                f'{self.arch.window_size}.'
            )
        if carrier_pooling not in POOLINGS:
            raise ConfigError(
                f"carrier_pooling is {carrier_pooling!r}, but it must be 'authors' or 'centred'."
            )
        self.hat = tuple(map(bool, hat))
        self.ct_size = ct_size
        for number in (number for number, has_carriers in enumerate(self.hat) if has_carriers):
            stage, channels = self.stages[number], self.arch.stage_dims[number]
            assert isinstance(stage, SwinStage)
            stage.carrier_pooling = CarrierPooling(channels, ct_size, carrier_pooling)
            for block in stage.blocks:
                assert isinstance(block, SwinBlock)
                block.carriers = CarrierBlock(
                    channels,
                    self.arch.num_heads[number],
                    self.arch.hidden_dims[number],
                    drop_path_rate=block.drop_path.rate,
                    layer_scale=layer_scale,
                )
        self._freeze()

    def compute_stage(
        self, stage: SwinStage, tokens: Tensor, batch_size: int, height: int, width: int
    ) -> Tensor:
        """Computes all windows with their carriers, see `SwinBackbone.compute_stage`."""
        plain, device = WindowGrid(height, width, self.arch.window_size), tokens.device
        carriers = masks = pattern = hidden = None
        if self.hat[stage.number]:
            pooling = stage.carrier_pooling
            assert isinstance(pooling, CarrierPooling)
            feature_map = tokens.view(batch_size, height, width, -1).permute(0, 3, 1, 2)
            carriers = pooling(feature_map, plain)
            hidden = hidden_carriers(plain, self.ct_size, pooling.pooling, device)
            keys = hidden_keys(plain, self.ct_size, pooling.pooling, device)
            if keys is not None:
                masks = hide(keys[0][:, : self.ct_size**2], carriers.dtype)
                pattern = keys[1].repeat(batch_size)
        for block in stage.blocks:
            assert isinstance(block, SwinBlock)
            grid = WindowGrid(height, width, self.arch.window_size, block.shift)
            where = locate_windows(grid, batch_size, None, device)
            windows = gather_windows(tokens, where)
            if carriers is None:
                windows = block(windows, where)
            else:
                carrier_block = block.carriers
                assert isinstance(carrier_block, CarrierBlock)
                carriers = carrier_block(carriers, None if hidden is None else hidden.flatten())
                own = WindowCarriers(split_windows(carriers, self.ct_size), masks, pattern)
                joined = block(windows, where, own)
                carried, windows = joined.split([self.ct_size**2, windows.shape[1]], dim=1)
                carriers = join_windows(carried, self.ct_size, plain.rows, plain.cols)
                windows = windows.contiguous()
            tokens = scatter_windows(tokens, windows, where)
        return tokens

    def _reset_parameters(self) -> None:
        super()._reset_parameters()
        for stage in self.stages:
            pooling = getattr(stage, 'carrier_pooling', None)
            if pooling is not None:
                nn.init.kaiming_normal_(pooling.conv.weight, mode='fan_in', nonlinearity='linear')
                nn.init.zeros_(pooling.conv.bias)
