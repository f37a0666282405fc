"""Frames drawn so that every class is equally often the reason (CBGS)."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsevit_mm.errors import DataError
from sparsevit_mm.registry import DATASETS


@DATASETS.register_module()
class ClassBalancedFrames:
    """Class-balanced grouping and sampling (Zhu et al., 2019), also where classes are absent.

    Every class that occurs draws the same number of its frames, with replacement: as many as there
    are pairs of a frame and a class in it, shared out. MMDetection3D's `CBGSDataset` does the same,
    but divides by zero when a class of the data set occurs in no frame, and draws from the global
    random state, so that processes may differ.

    Args:
        dataset: The data set, or its config; it must have `get_cat_ids`.
        seed: Seed of the drawing.

    Raises:
        DataError: If no class occurs at all.
    """

    def __init__(self, dataset: Any, seed: int = 0) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.seed = seed
        self.full_init()

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names and colours."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Loads the annotations and draws."""
        self.dataset.full_init()
        frames: dict[int, list[int]] = {}
        for number in range(len(self.dataset)):
            for label in set(self.dataset.get_cat_ids(number)) - {-1}:  # -1: not cared for
                frames.setdefault(int(label), []).append(number)
        if not frames:
            raise DataError(
                f'None of the classes {tuple(self.metainfo["classes"])} occurs in the data set, so '
                'no frames can be drawn for them.'
            )
        rng = np.random.default_rng(self.seed)
        share = sum(map(len, frames.values())) // len(frames)
        self._drawn = [
            number for _, those in sorted(frames.items()) for number in rng.choice(those, share)
        ]

    def get_data_info(self, index: int) -> dict[str, Any]:
        """What is known of a frame, see mmengine's `BaseDataset`."""
        return self.dataset.get_data_info(self._drawn[index])

    def get_cat_ids(self, index: int) -> Any:
        """Numbers of the classes in a frame."""
        return self.dataset.get_cat_ids(self._drawn[index])

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self._drawn[index]]

    def __len__(self) -> int:
        return len(self._drawn)
