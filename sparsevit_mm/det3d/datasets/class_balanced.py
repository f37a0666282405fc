"""Class-balanced grouping and sampling (CBGS): every class draws the same number of frames."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsevit_mm.errors import DataError
from sparsevit_mm.registry import DATASETS


@DATASETS.register_module()
class ClassBalancedFrames:
    """Wraps a data set for class-balanced grouping and sampling (CBGS, Zhu et al., 2019).

    Every class that occurs draws the same number of frames that contain it, with replacement:
    (number of frame-class pairs) / (number of classes). Differs from MMDetection3D's `CBGSDataset`
    in two ways: a class that occurs in no frame is left out, where theirs divides by zero; and
    draws come from a seed of their own, so that all processes draw the same frames.

    Args:
        dataset: The data set, or its config; it must have `get_cat_ids`.
        seed: Seed of the draws.

    Raises:
        DataError: If no class occurs at all.
    """

    def __init__(self, dataset: Any, seed: int = 0) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.seed = seed
        self.full_init()

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names and colors, as in the wrapped data set."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Loads the annotations and draws the frames."""
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
        """Annotations of a drawn frame, see mmengine's `BaseDataset`."""
        return self.dataset.get_data_info(self._drawn[index])

    def get_cat_ids(self, index: int) -> Any:
        """Labels of the classes in a drawn frame."""
        return self.dataset.get_cat_ids(self._drawn[index])

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self._drawn[index]]

    def __len__(self) -> int:
        return len(self._drawn)
