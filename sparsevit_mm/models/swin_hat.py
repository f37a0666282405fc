"""Swin with carrier tokens: FasterViT's hierarchical attention as a plug-in.

The paper puts its attention into Swin and reports gains; how exactly is not known here. Chosen:

- every block of a stage with carriers keeps Swin's window, shift, relative position bias and edge
  masks, so a Swin checkpoint still means what it meant;
- before it, the carriers of the image attend to each other (`CarrierBlock`); then each window
  attends over its carriers and its tokens, and Swin's FFN serves both;
- a window keeps its index, and so its carriers, when the grid is shifted; carriers see all sides
  of an edge, for they have just seen the whole image anyway;
- nothing is added to the tokens at the end of a stage;
- a window that is skipped keeps its carriers, which attend to all others before every block.

Parameters are those of `swin` and, in stages with carriers, `carrier_pooling` and
`blocks.j.carriers`, which begin at random. Renaming one breaks users' checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.carrier_tokens import (
    POOLINGS,
    CarrierBlock,
    CarrierPooling,
    CarrierUpdate,
    carriers_of,
    padded_carriers,
    padded_keys,
    with_carriers,
)
from sparsevit_mm.models.swin import SwinBackbone, SwinBlock, SwinStage
from sparsevit_mm.ops.attention import Masks, edge_masks, key_mask
from sparsevit_mm.ops.windows import (
    MapWindows,
    WindowGrid,
    Windows,
    update_windows,
)
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
        carrier_pooling: 'authors' or 'centered', see `CarrierPooling`.
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
                f'hat is {tuple(hat)}, but must hold one entry for each of the '
                f'{len(self.arch.depths)} stages.'
            )
        if not 1 <= ct_size <= self.arch.window_size:
            raise ConfigError(
                f'ct_size is {ct_size}, but must lie between 1 and the window_size, '
                f'{self.arch.window_size}.'
            )
        if carrier_pooling not in POOLINGS:
            raise ConfigError(
                f"carrier_pooling is {carrier_pooling!r}, but must be 'authors' or 'centered'."
            )
        self.arch = replace(
            self.arch, hat=tuple(map(bool, hat)), ct_size=ct_size, carrier_pooling=carrier_pooling
        )
        for stage, channels in zip(self.stages, self.arch.stage_dims):
            if not self.arch.hat[stage.number]:
                continue
            stage.carrier_pooling = CarrierPooling(channels, ct_size, carrier_pooling)
            for block in stage.blocks:
                block.carriers = CarrierBlock(
                    channels,
                    self.arch.num_heads[stage.number],
                    self.arch.hidden_dims[stage.number],
                    drop_path_rate=block.drop_path_rate,
                    layer_scale=layer_scale,
                )
        self._freeze()

    def compute_stage(
        self, stage: SwinStage, tokens: Tensor, batch_size: int, height: int, width: int
    ) -> Tensor:
        """Computes windows with their carriers, see `SwinBackbone.compute_stage`."""
        ranking = self.new_ranking(batch_size)
        ratios = self.pruning_schedule.ratios[stage.number]
        carriers: Tensor | None = None
        if self.arch.hat[stage.number]:
            # Pruned blocks write into the tokens, which the gradient of the pooling still needs.
            pooled = tokens.clone() if torch.is_grad_enabled() and any(ratios) else tokens
            feature_map = pooled.view(batch_size, height, width, -1).permute(0, 3, 1, 2)
            plain = WindowGrid(height, width, self.arch.window_size)
            carriers = self._pooling(stage)(feature_map, plain)
        for index, (block, ratio) in enumerate(zip(stage.blocks, ratios)):
            grid = WindowGrid(height, width, self.arch.window_size, block.shift)
            kept = ranking.select(tokens, grid, ratio)
            windows = Windows.locate(grid, batch_size, kept, tokens.device)
            if carriers is None:
                tokens = update_windows(tokens, tokens, windows, block)
            else:
                compute = partial(self._compute_windows, stage, block)
                update = CarrierUpdate(compute, carriers, block.training)
                tokens = update_windows(tokens, tokens, windows, update)
                carriers = update.carriers
            self.observe(stage.number, index, windows)
        return tokens

    def _compute_windows(
        self,
        stage: SwinStage,
        block: SwinBlock,
        own: Tensor | MapWindows,
        carriers: Tensor,
        windows: Windows,
    ) -> tuple[Tensor, Tensor]:
        """Tokens of the windows after a block, and the carriers of all windows as a map."""
        grid, device, size = windows.grid, windows.device, self.arch.ct_size
        plain = WindowGrid(grid.height, grid.width, grid.window_size)
        pooling = self._pooling(stage).pooling
        hidden = padded_carriers(plain, size, pooling, device)
        carrier_block = block.carriers
        assert isinstance(carrier_block, CarrierBlock)
        carriers = carrier_block(carriers, None if hidden is None else hidden.flatten())

        masks = edge_masks(windows)
        if masks is not None:
            masks = masks._replace(values=F.pad(masks.values, (size**2, 0) * 2))
        keys = padded_keys(plain, size, pooling, device)
        if keys is not None:
            # Padding tokens may be seen, as in Swin.
            carriers_of_padding = key_mask(keys[0][:, : size**2], carriers.dtype)
            values = F.pad(carriers_of_padding, (0, windows.num_tokens))
            values = values if masks is None else masks.values + values
            masks = Masks(values, windows.per_window(keys[1]))
        joined, branch = block(own, windows, carriers_of(windows, carriers, size), masks)
        carried, tokens = (joined + branch).split([size**2, windows.num_tokens], dim=1)
        return tokens.contiguous(), with_carriers(carriers, carried, windows, size)

    @staticmethod
    def _pooling(stage: SwinStage) -> CarrierPooling:
        pooling = stage.carrier_pooling
        assert isinstance(pooling, CarrierPooling)
        return pooling

    def reset_parameters(self) -> None:
        """Those of Swin, and the convolutions that pool carriers; see `PretrainedBackbone`."""
        super().reset_parameters()
        for stage in self.stages:
            if self.arch.hat[stage.number]:
                weight, bias = self._pooling(stage).conv.parameters()
                nn.init.kaiming_normal_(weight, mode='fan_in', nonlinearity='linear')
                nn.init.zeros_(bias)
