"""Describes the new backbone: a name such as 'sparsevit-tiny', pruning ratios and weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sparsevit_mm.checkpoints.loading import CHANNEL_ORDERS
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.fastervit_arch import VARIANTS, FasterViTArch
from sparsevit_mm.models.swin_arch import NAMED_SIZES, SwinArch
from sparsevit_mm.pruning.importance import check_importance_name
from sparsevit_mm.pruning.schedule import PruningSchedule

STRIDES = (4, 8, 16, 32)
"""Strides of the four output maps of each of our backbones."""

FOR_OWN_DATA = 'contrast'
"""What windows are ranked by on a user's own data: never much worse than another importance, see
docs/which_windows.md. The papers' configs have the paper's 'l2'."""

_SWIN_STORE = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
_SWIN_FILES = {
    'tiny': 'swin_tiny_patch4_window7_224.pth',
    'small': 'swin_small_patch4_window7_224.pth',
    'base': 'swin_base_patch4_window7_224.pth',
    'large': 'swin_large_patch4_window7_224_22k.pth',
}
_FASTERVIT_STORE = 'https://huggingface.co/ahatamiz/FasterViT/resolve/main/'
_FASTERVIT_WINDOWS = {'224': 'w14', '384': 'w24', '512': 'w32', '768': 'w48'}


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone that replaces another.

    Attributes:
        name: 'sparsevit-' or 'swin-hat-' with 'tiny', 'small', 'base' or 'large', or 'fastervit-'
            with a variant such as '0' or '4-21k-224'.
        ratios: Pruning ratios in any form `pruning_ratios` takes; None for all windows.
        checkpoint: Path or address of weights to start from; None for the released ImageNet
            weights of the backbone, '' for random ones.
        channels: For images of more or fewer than three channels: 'rgb' or 'bgr', what their first
            three are, takes the weights in, with the mean for further channels; None leaves them
            out.
        importance: Name of what windows are ranked by; None for what the old backbone names, else
            for `FOR_OWN_DATA`, where windows are to be skipped.

    Raises:
        ConfigError: If a name is unknown, or the ratios do not fit the backbone.
    """

    name: str
    ratios: Any = None
    checkpoint: str | None = None
    channels: str | None = None
    importance: str | None = None

    def __post_init__(self) -> None:
        if self.name not in backbone_names():
            raise ConfigError(
                f'backbone is {self.name!r}, but must be one of {", ".join(backbone_names())}.'
            )
        if self.channels not in (None, *CHANNEL_ORDERS):
            raise ConfigError(
                f'channels is {self.channels!r}, but must be one of {", ".join(CHANNEL_ORDERS)}.'
            )
        if self.importance is not None:
            check_importance_name(self.importance)
        if self.ratios is not None:
            sizes = self.sizes
            PruningSchedule.parse(self.ratios, sizes.depths, sizes.has_windows)

    @property
    def family(self) -> str:
        """'sparsevit', 'swin-hat' or 'fastervit'."""
        return next(f for f in ('sparsevit', 'swin-hat', 'fastervit') if self.name.startswith(f))

    @property
    def arch(self) -> str:
        """Size of the backbone, such as 'tiny'."""
        return self.name[len(self.family) + 1 :]

    @property
    def sizes(self) -> SwinArch | FasterViTArch:
        """Sizes of the backbone."""
        return VARIANTS[self.arch] if self.family == 'fastervit' else SwinArch.build(self.arch)

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of the four output maps."""
        return self.sizes.stage_dims

    @property
    def pretrained(self) -> str | None:
        """Path or address of the weights to start from; None for random ones."""
        if self.checkpoint is not None:
            return self.checkpoint or None
        if self.family != 'fastervit':
            return _SWIN_STORE + _SWIN_FILES[self.arch]
        if '21k' in self.arch:
            size = self.arch.rpartition('-')[2]
            return f'{_FASTERVIT_STORE}fastervit_4_21k_{size}_{_FASTERVIT_WINDOWS[size]}.pth.tar'
        return f'{_FASTERVIT_STORE}fastervit_{self.arch}_224_1k.pth.tar'

    def config(self, out_indices: tuple[int, ...], in_channels: int = 3) -> dict[str, Any]:
        """Config of the backbone.

        Args:
            out_indices: Indices of the maps it returns.
            in_channels: Channels of the images.
        """
        types = {'sparsevit': 'SparseViT', 'swin-hat': 'SwinHAT', 'fastervit': 'FasterViT'}
        config: dict[str, Any] = dict(type=f'sparsevit_mm.{types[self.family]}', arch=self.arch)
        if out_indices != (0, 1, 2, 3):
            config['out_indices'] = out_indices
        if in_channels != 3:
            config['in_channels'] = in_channels
        if self.family == 'fastervit':
            config |= dict(out_norm_cfg=dict(type='LN'), norm_eval=True)
        else:
            config['drop_path_rate'] = 0.2
        if self.ratios is not None:
            config['pruning_ratios'] = self.ratios
        if self.importance is not None:
            config['importance'] = self.importance
        elif self.family == 'sparsevit' or self.ratios is not None:
            config['importance'] = FOR_OWN_DATA
        if self.pretrained is not None and (in_channels == 3 or self.channels is not None):
            config['init_cfg'] = dict(type='Pretrained', checkpoint=self.pretrained)
            if in_channels != 3:
                config['init_cfg']['channels'] = self.channels
        return config


def backbone_names() -> list[str]:
    """Lists every allowed name of a `BackboneSpec`."""
    swins = [f'{family}-{size}' for family in ('sparsevit', 'swin-hat') for size in NAMED_SIZES]
    return swins + [f'fastervit-{variant}' for variant in VARIANTS]
