"""The numbers that make a Swin: named sizes, widths, and their checks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from sparsevit_mm.errors import ConfigError

NAMED_SIZES: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    # name: (embed_dims, depths, num_heads).
    'tiny': (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    'small': (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    'base': (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    'large': (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}

WIDTH_STEP = 12
"""Narrowed embedding sizes are multiples of this, so that the heads of every stage divide them."""


@dataclass(frozen=True)
class SwinArch:
    """Sizes of a Swin backbone.

    Attributes:
        embed_dims: Channels C of the first stage; stage i has C * 2**i.
        depths: Blocks in each stage.
        num_heads: Attention heads in each stage.
        window_size: Side of a window in tokens.
        patch_size: Side of a patch in pixels.
        mlp_ratio: Hidden channels of the FFN over its channels.
        in_channels: Channels of the image.
        last_stage: The last stage that is computed; None for all.
        hat: Which stages have carrier tokens; none by default.
        ct_size: Side of a window's carrier tokens.
        carrier_pooling: How carriers are pooled, 'authors' or 'centered'.

    Raises:
        ConfigError: If the lists differ in length, a number is not positive, or a stage's heads do
            not divide its channels.
    """

    embed_dims: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_size: int = 7
    patch_size: int = 4
    mlp_ratio: float = 4
    in_channels: int = 3
    last_stage: int | None = field(default=None, repr=False)
    hat: tuple[bool, ...] = ()
    ct_size: int = 2
    carrier_pooling: str = 'authors'

    def __post_init__(self) -> None:
        object.__setattr__(self, 'hat', self.hat or (False,) * len(self.depths))
        if len(self.depths) != len(self.num_heads) or not self.depths:
            raise ConfigError(
                f'depths {self.depths} and num_heads {self.num_heads} must hold one number for '
                'each stage.'
            )
        numbers = {
            'embed_dims': [self.embed_dims],
            'depths': self.depths,
            'num_heads': self.num_heads,
            'window_size': [self.window_size],
            'patch_size': [self.patch_size],
            'mlp_ratio': [self.mlp_ratio],
            'in_channels': [self.in_channels],
        }
        for name, values in numbers.items():
            if any(value <= 0 for value in values):
                raise ConfigError(f'{name} is {getattr(self, name)}, but must be positive.')
        for stage, (channels, heads) in enumerate(zip(self.stage_dims, self.num_heads)):
            if channels % heads:
                raise ConfigError(
                    f'num_heads of stage {stage} is {heads}, but must divide the {channels} '
                    'channels of that stage.'
                )

    @property
    def num_computed(self) -> int:
        """Stages that are computed."""
        return len(self.depths) if self.last_stage is None else self.last_stage + 1

    @property
    def window_sizes(self) -> tuple[int, ...]:
        """Side of a window in tokens in each stage."""
        return (self.window_size,) * len(self.depths)

    @property
    def has_windows(self) -> tuple[bool, ...]:
        """Which stages attend in windows: all."""
        return (True,) * len(self.depths)

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.embed_dims * 2**stage for stage in range(len(self.depths)))

    @property
    def hidden_dims(self) -> tuple[int, ...]:
        """Hidden channels of the FFN in each stage."""
        return tuple(int(self.mlp_ratio * channels) for channels in self.stage_dims)

    @classmethod
    def build(
        cls,
        arch: str = 'tiny',
        width: float = 1.0,
        embed_dims: int | None = None,
        depths: Sequence[int] | None = None,
        num_heads: Sequence[int] | None = None,
        **sizes: float,
    ) -> SwinArch:
        """Makes the sizes from a name, a width and whatever is given outright.

        Args:
            arch: A key of `NAMED_SIZES`.
            width: Factor on the embedding size. Other than 1 it gives the nearest multiple of 12:
                36, 60, 72 and 84 for the 0.4, 0.6, 0.8 and 0.9 of SparseViT's tables 1 and 2.
            embed_dims: Embedding size before `width`, instead of the name's.
            depths: Blocks in each stage, instead of the name's.
            num_heads: Heads in each stage, instead of the name's.
            **sizes: `window_size`, `patch_size`, `mlp_ratio`, `in_channels`.

        Raises:
            ConfigError: If the name is unknown or a number is not allowed.
        """
        if arch not in NAMED_SIZES:
            raise ConfigError(f'arch is {arch!r}, but must be one of {", ".join(NAMED_SIZES)}.')
        if width <= 0:
            raise ConfigError(f'width is {width}, but must be positive.')
        named_dims, named_depths, named_heads = NAMED_SIZES[arch]
        dims = named_dims if embed_dims is None else embed_dims
        if width != 1:
            dims = max(WIDTH_STEP, math.floor(dims * width / WIDTH_STEP + 0.5) * WIDTH_STEP)
        return cls(
            embed_dims=dims,
            depths=tuple(named_depths if depths is None else depths),
            num_heads=tuple(named_heads if num_heads is None else num_heads),
            **sizes,  # type: ignore[arg-type]
        )
