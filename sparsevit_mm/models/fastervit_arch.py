"""The numbers that make a FasterViT: published variants and their checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from sparsevit_mm.errors import ConfigError

NUM_STAGES = 4
FIRST_ATTENTION_STAGE = 2


@dataclass(frozen=True)
class FasterViTArch:
    """Sizes of a FasterViT. Stages 0 and 1 are convolutional, 2 and 3 attend in windows.

    Attributes:
        dim: Channels C of the first stage; stage i has C * 2**i.
        in_dim: Channels between the two convolutions of the patch embedding.
        depths: Blocks in each stage.
        num_heads: Attention heads in each stage; those of convolutional stages mean nothing.
        window_size: Side of a window in tokens in each stage, likewise.
        ct_size: Side of a window's carrier tokens.
        mlp_ratio: Hidden channels of the FFN over its channels.
        hat: Which stages have carrier tokens.
        layer_scale: Initial value of the factors on the branches of attention stages; None for no
            factors.
        do_propagation: Whether carriers are added to their windows' tokens at the end of a stage.
        drop_path_rate: Stochastic depth of the last block.
        in_channels: Channels of the image.
        carrier_pooling: How carriers are pooled, 'authors' or 'centered'.
        last_stage: The last stage that is computed; None for all.

    Raises:
        ConfigError: If a list has another length than 4, a number is not positive, the heads of an
            attention stage do not divide its channels, a window is smaller than its carriers, or a
            convolutional stage is asked to have carriers.
    """

    dim: int
    in_dim: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_size: tuple[int, ...] = (7, 7, 7, 7)
    ct_size: int = 2
    mlp_ratio: float = 4
    hat: tuple[bool, ...] = (False, False, True, False)
    layer_scale: float | None = None
    do_propagation: bool = False
    drop_path_rate: float = 0.2
    in_channels: int = 3
    carrier_pooling: str = 'authors'
    last_stage: int | None = field(default=None, repr=False)

    patch_size = 4
    """Stride of the patch embedding in pixels."""

    def __post_init__(self) -> None:
        for name in ('depths', 'num_heads', 'window_size', 'hat'):
            if len(getattr(self, name)) != NUM_STAGES:
                raise ConfigError(
                    f'{name} is {getattr(self, name)}, but must hold one entry for each of '
                    f'the {NUM_STAGES} stages.'
                )
        for name in (
            'dim', 'in_dim', 'depths', 'num_heads', 'window_size', 'ct_size', 'mlp_ratio',
            'in_channels',
        ):  # fmt: skip
            value = getattr(self, name)
            if any(number <= 0 for number in (value if isinstance(value, tuple) else (value,))):
                raise ConfigError(f'{name} is {value}, but must be positive.')
        if not 0 <= self.drop_path_rate < 1:
            raise ConfigError(
                f'drop_path_rate is {self.drop_path_rate}, but must be at least 0 and below 1.'
            )
        for stage in range(FIRST_ATTENTION_STAGE):
            if self.hat[stage]:
                raise ConfigError(
                    f'hat is {self.hat}, but stage {stage} is convolutional and cannot have '
                    'carrier tokens.'
                )
        for stage in range(FIRST_ATTENTION_STAGE, NUM_STAGES):
            channels, heads = self.stage_dims[stage], self.num_heads[stage]
            if channels % heads:
                raise ConfigError(
                    f'num_heads of stage {stage} is {heads}, but must divide the {channels} '
                    'channels of that stage.'
                )
            if self.hat[stage] and self.ct_size > self.window_size[stage]:
                raise ConfigError(
                    f'ct_size is {self.ct_size}, but must be at most the window_size of stage '
                    f'{stage}, {self.window_size[stage]}.'
                )

    @property
    def num_computed(self) -> int:
        """Stages that are computed."""
        return NUM_STAGES if self.last_stage is None else self.last_stage + 1

    @property
    def has_windows(self) -> tuple[bool, ...]:
        """Which stages attend in windows; the others are convolutional."""
        return tuple(stage >= FIRST_ATTENTION_STAGE for stage in range(NUM_STAGES))

    @property
    def window_sizes(self) -> tuple[int, ...]:
        """Side of a window in tokens in each stage, 0 in convolutional ones."""
        return tuple(size * has for size, has in zip(self.window_size, self.has_windows))

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.dim * 2**stage for stage in range(NUM_STAGES))

    @property
    def hidden_dims(self) -> tuple[int, ...]:
        """Hidden channels of the FFN in each stage."""
        return tuple(int(self.mlp_ratio * channels) for channels in self.stage_dims)

    @classmethod
    def build(cls, arch: str = '0', **numbers: Any) -> FasterViTArch:
        """Makes the sizes from a variant's name and whatever is given outright.

        Args:
            arch: A key of `VARIANTS`.
            **numbers: Fields to replace; None keeps the variant's. A `layer_scale` of 0 or False
                means no factors.

        Raises:
            ConfigError: If the name is unknown or a number is not allowed.
        """
        if arch not in VARIANTS:
            raise ConfigError(f'arch is {arch!r}, but must be one of {", ".join(VARIANTS)}.')
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, (list, tuple)) else value
            for name, value in numbers.items()
            if value is not None
        }
        if 'layer_scale' in given and not given['layer_scale']:
            given['layer_scale'] = None
        return replace(VARIANTS[arch], **given)


_HEADS, _MORE_HEADS = (2, 4, 8, 16), (4, 8, 16, 32)
_SCALED: dict[str, Any] = dict(layer_scale=1e-5, do_propagation=True)


def _variant_4_21k(stage_2_window: int, stage_3_window: int) -> FasterViTArch:
    return FasterViTArch(
        196,
        64,
        (3, 3, 12, 5),
        _MORE_HEADS,
        window_size=(7, 7, stage_2_window, stage_3_window),
        hat=(False,) * NUM_STAGES,
        drop_path_rate=0.42,
        layer_scale=1e-5,
    )


VARIANTS = {
    '0': FasterViTArch(64, 64, (2, 3, 6, 5), _HEADS),
    '1': FasterViTArch(80, 32, (1, 3, 8, 5), _HEADS),
    '2': FasterViTArch(96, 64, (3, 3, 8, 5), _HEADS),
    '3': FasterViTArch(128, 64, (3, 3, 12, 5), _HEADS, drop_path_rate=0.3, **_SCALED),
    '4': FasterViTArch(196, 64, (3, 3, 12, 5), _MORE_HEADS, drop_path_rate=0.3, **_SCALED),
    '5': FasterViTArch(320, 64, (3, 3, 12, 5), _MORE_HEADS, drop_path_rate=0.3, **_SCALED),
    '6': FasterViTArch(320, 64, (3, 3, 16, 8), _MORE_HEADS, drop_path_rate=0.5, **_SCALED),
    '4-21k-224': _variant_4_21k(14, 7),
    '4-21k-384': _variant_4_21k(24, 12),
    '4-21k-512': _variant_4_21k(32, 16),
    '4-21k-768': _variant_4_21k(48, 24),
}
"""The published variants; '4-21k-…' are pre-trained on ImageNet-21K, without carrier tokens, for
images of that side."""


def describe_fastervit(weights: Mapping[str, Tensor]) -> str:
    """Names the variant that parameters belong to, or its sizes if it is no published one.

    Args:
        weights: Parameters under our names.
    """
    dim = weights['patch_embed.3.weight'].shape[0]
    depths = tuple(
        len({n.split('.')[3] for n in weights if n.startswith(f'levels.{stage}.blocks.')})
        for stage in range(NUM_STAGES)
    )
    carriers = any('.carriers.' in name for name in weights)
    names = [
        name
        for name, arch in VARIANTS.items()
        if arch.dim == dim
        and any(arch.hat) == carriers
        and all(mine in (0, depth) for mine, depth in zip(depths, arch.depths))
    ]
    if names:
        return (
            f'FasterViT-{names[0]}'
            if len(names) == 1
            else f'FasterViT-{names[0].rsplit("-", 1)[0]}'
        )
    return f'a FasterViT of dim {dim} and depths {depths}'
