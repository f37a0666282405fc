"""Which images of a training set are held out for the search.

Whether an image belongs to the held-out part follows from its name, the share and the seed alone.
So training can leave out exactly what the search looks at, in another process, with other filters,
in another order, without a list of names between them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sparsevit_mm.errors import ConfigError


@dataclass(frozen=True)
class SplitSettings:
    """What a search looks at.

    Attributes:
        part: 'held_out', a part of the training set, or 'val', the config's validation set.
        share: Share of the training images that is held out, about, in (0, 1).
        images: At most so many images are looked at; None for all.
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
        name: Name of its file, without folders.
        share: Share of the images that is held out.
        seed: Seed of the split.
    """
    return _place(name, seed) < share


def choose_images(names: Sequence[str], settings: SplitSettings) -> list[int]:
    """Numbers of the images a search looks at.

    Args:
        names: Names of the images' files, without folders.
        settings: The split.

    Returns:
        Ascending numbers. A smaller number of images is a subset of a larger one's.

    Raises:
        ConfigError: If there is none.
    """
    held_out = settings.part == 'held_out'
    found = [
        number
        for number, name in enumerate(names)
        if not held_out or is_held_out(name, settings.share, settings.seed)
    ]
    if not found:
        raise ConfigError(
            f'split.share is {settings.share}, but none of the {len(names)} images falls into the '
            'held-out part: hold out a larger share.'
        )
    found.sort(key=lambda number: _place(names[number], settings.seed))
    return sorted(found[: settings.images])


def _place(name: str, seed: int) -> float:
    """An image's place in [0, 1): uniform over names, fixed for a seed."""
    digest = hashlib.sha256(f'{seed}/{name}'.encode()).digest()
    return int.from_bytes(digest[:7], 'big') / 2**56
