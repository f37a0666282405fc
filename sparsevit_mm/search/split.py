"""Chooses the images of a training set that are held out for the search.

Whether an image is held out depends only on its file name, the share and the seed. Training can
therefore exclude exactly the images of the search without a list of names, also in another process
and with other filters or another order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sparsevit_mm.errors import ConfigError


@dataclass(frozen=True)
class SplitSettings:
    """The images of a search.

    Attributes:
        part: 'held_out' for a part of the training set, or 'val' for the validation set.
        share: Approximate share of the training images that is held out, in (0, 1).
        images: Maximum number of images; None for all.
        seed: Seed of the split.

    Raises:
        ConfigError: If a value is out of range.
    """

    part: str = 'held_out'
    share: float = 0.1
    images: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.part not in ('held_out', 'val'):
            raise ConfigError(f"split.part is {self.part!r}, but must be 'held_out' or 'val'.")
        if not 0 < self.share < 1:
            raise ConfigError(f'split.share is {self.share}, but must lie between 0 and 1.')
        if self.images is not None and self.images < 1:
            raise ConfigError(f'split.images is {self.images}, but must be at least 1.')


def is_held_out(name: str, share: float, seed: int) -> bool:
    """Whether an image is held out.

    Args:
        name: File name without folders.
        share: Share of the images that is held out.
        seed: Seed of the split.
    """
    return _hash(name, seed) < share


def choose_images(names: Sequence[str], settings: SplitSettings) -> list[int]:
    """Chooses the images of a search.

    Args:
        names: File names of all images, without folders.
        settings: The split.

    Returns:
        Indices in ascending order. With a smaller `settings.images` they are a subset of those with
        a larger one.

    Raises:
        ConfigError: If no image is chosen.
    """
    held_out = settings.part == 'held_out'
    found = [
        index
        for index, name in enumerate(names)
        if not held_out or is_held_out(name, settings.share, settings.seed)
    ]
    if not found:
        raise ConfigError(
            f'split.share is {settings.share}, but none of the {len(names)} images falls into the '
            'held-out part: hold out a larger share.'
        )
    found.sort(key=lambda index: _hash(names[index], settings.seed))
    return sorted(found[: settings.images])


def _hash(name: str, seed: int) -> float:
    """A number in [0, 1) that depends on the name and the seed and is uniform over names."""
    digest = hashlib.sha256(f'{seed}/{name}'.encode()).digest()
    return int.from_bytes(digest[:7], 'big') / 2**56
