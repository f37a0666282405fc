"""Makes frames of colored blocks in CamVid's folder layout, to try the study without CamVid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from projects.camvid_study.plan import CLASSES

_BLOCK = 12


def make_frames(root: Path, width: int, height: int, frames: int = 4, seed: int = 0) -> None:
    """Writes frames whose colors tell the class, for training, validation and test.

    Args:
        root: Folder to which images/ and annotations/ are written.
        width: Width of a frame in pixels.
        height: Height of a frame in pixels.
        frames: Frames per split.
        seed: Seed of the blocks and the noise.
    """
    rng = np.random.default_rng(seed)
    colors = rng.integers(40, 216, (len(CLASSES) + 1, 3))
    for split in ('training', 'validation', 'test'):
        for kind in ('images', 'annotations'):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for number in range(frames):
            blocks = rng.integers(0, len(colors), (height // _BLOCK + 1, width // _BLOCK + 1))
            labels = blocks.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)[:height, :width]
            noise = rng.integers(-30, 31, (height, width, 3))
            frame = (colors[labels] + noise).astype(np.uint8)
            Image.fromarray(frame).save(root / 'images' / split / f'{number}.jpg')
            label_map = Image.fromarray(labels.astype(np.uint8))
            label_map.save(root / 'annotations' / split / f'{number}.png')
