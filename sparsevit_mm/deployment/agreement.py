"""How well predictions of a file agree with those of the model that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BOX_TOLERANCE, SCORE_TOLERANCE, MASK_TOLERANCE = 0.5, 1e-3, 0.99
"""Largest difference of corners in pixels and of scores, and lowest IoU of masks."""


@dataclass(frozen=True)
class Agreement:
    """Of how many predictions two sets agree.

    Attributes:
        agreeing: Boxes, pixels or images that are the same in both, within the tolerances.
        total: Boxes that are in either set, or all pixels or images.
        what: What is counted, in the plural.
    """

    agreeing: int
    total: int
    what: str

    @property
    def share(self) -> float:
        """Agreeing ones of all; 1 if there are none."""
        return self.agreeing / self.total if self.total else 1.0

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.agreeing + other.agreeing, self.total + other.total, self.what)

    def __str__(self) -> str:
        return f'{self.agreeing} of {self.total} {self.what} are the same'


def agreement(expected: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]]) -> Agreement:
    """Compares the outputs of two files or models for one batch.

    Args:
        expected: Outputs by name, see `sparsevit_mm.deployment.predictions`.
        found: The same of the other.
    """
    if 'label_map' in expected:
        same = expected['label_map'] == found['label_map']
        return Agreement(int(same.sum()), same.size, 'pixels')
    if 'boxes' not in expected:
        apart = np.abs(expected['scores'] - found['scores']).max(axis=1)
        return Agreement(int((apart <= SCORE_TOLERANCE).sum()), len(apart), 'images')
    return sum(
        (
            _boxes(
                *({name: value[image] for name, value in of.items()} for of in (expected, found))
            )
            for image in range(len(expected['boxes']))
        ),
        start=Agreement(0, 0, 'boxes'),
    )


def _boxes(expected: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]]) -> Agreement:
    """Pairs every box with the nearest one of the other set that has its class and its score."""
    places = [np.flatnonzero(of['labels'] >= 0) for of in (expected, found)]
    waiting = list(places[1])
    agreeing = 0
    for one in places[0]:
        candidates = [
            other
            for other in waiting
            if found['labels'][other] == expected['labels'][one]
            and abs(found['scores'][other] - expected['scores'][one]) <= SCORE_TOLERANCE
        ]
        if not candidates:
            continue
        apart = np.abs(found['boxes'][candidates] - expected['boxes'][one]).max(axis=1)
        other = candidates[int(apart.argmin())]
        if apart.min() <= BOX_TOLERANCE and _same_mask(expected, one, found, other):
            agreeing += 1
            waiting.remove(other)
    return Agreement(agreeing, len(places[0]) + len(places[1]) - agreeing, 'boxes')


def _same_mask(
    expected: Mapping[str, NDArray[Any]], one: int, found: Mapping[str, NDArray[Any]], other: int
) -> bool:
    if 'masks' not in expected:
        return True
    first, second = expected['masks'][one], found['masks'][other]
    if first.dtype != np.bool_:
        # Inside their boxes: probabilities that are nearly the same give nearly the same masks.
        return bool(np.abs(first - second).max() <= 1 - MASK_TOLERANCE)
    union = (first | second).sum()
    return bool(union == 0 or (first & second).sum() / union >= MASK_TOLERANCE)
