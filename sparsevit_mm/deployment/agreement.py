"""How well predictions of a file agree with those of the model that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BOX_TOLERANCE, SCORE_TOLERANCE, MASK_TOLERANCE = 0.5, 1e-3, 0.99
"""Largest difference of corners in pixels and of scores, and lowest IoU of masks."""

BOX_3D_TOLERANCE = 0.01
"""Largest difference of meters and radians of 3D boxes; of larger numbers, the relative one."""


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

    Boxes must come in the same order, too: the best first, up to scores that are the same.

    Args:
        expected: Outputs by name, see `sparsevit_mm.deployment.predictions`.
        found: The same of the other.
    """
    if 'label_map' in expected:
        same = expected['label_map'] == found['label_map']
        return Agreement(int(same.sum()), same.size, 'pixels')
    boxes = next((name for name in ('boxes', 'boxes_3d') if name in expected), None)
    if boxes is None:
        apart = np.abs(expected['scores'] - found['scores']).max(axis=1)
        return Agreement(int((apart <= SCORE_TOLERANCE).sum()), len(apart), 'images')
    return sum(
        (
            _boxes(
                *({name: value[image] for name, value in of.items()} for of in (expected, found))
            )
            for image in range(len(expected[boxes]))
        ),
        start=Agreement(0, 0, 'boxes'),
    )


def _boxes(expected: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]]) -> Agreement:
    """Pairs every box with the nearest one of the other set that has its class and its score."""
    places = [np.flatnonzero(of['labels'] >= 0) for of in (expected, found)]
    waiting = list(places[1])
    pairs = []
    for one in places[0]:
        candidates = [
            other
            for other in waiting
            if found['labels'][other] == expected['labels'][one]
            and abs(found['scores'][other] - expected['scores'][one]) <= SCORE_TOLERANCE
        ]
        if not candidates:
            continue
        apart, allowed = _distances(expected, one, found, candidates)
        other = candidates[int(apart.argmin())]
        if apart.min() <= allowed and _same_mask(expected, one, found, other):
            pairs.append((one, other))
            waiting.remove(other)
    agreeing = len(pairs) - _out_of_order(pairs, expected['scores'])
    return Agreement(agreeing, len(places[0]) + len(places[1]) - len(pairs), 'boxes')


def _distances(
    expected: Mapping[str, NDArray[Any]],
    one: int,
    found: Mapping[str, NDArray[Any]],
    candidates: list[int],
) -> tuple[NDArray[Any], float]:
    """How far candidates are from a box, and how far they may be."""
    if 'boxes' in expected:
        return np.abs(found['boxes'][candidates] - expected['boxes'][one]).max(1), BOX_TOLERANCE
    box = expected['boxes_3d'][one]
    apart = np.abs(found['boxes_3d'][candidates] - box)
    return (apart / np.maximum(np.abs(box), 1)).max(1), BOX_3D_TOLERANCE


def _out_of_order(pairs: list[tuple[int, int]], scores: NDArray[Any]) -> int:
    """How many boxes come after one that has a lower score in the first set.

    Args:
        pairs: Places of the same boxes in both sets, in the order of the first.
        scores: Of the first set.
    """
    late = 0
    for place, (one, other) in enumerate(pairs):
        # A box of the first set that came earlier there, but later here.
        overtaken = [scores[before] for before, after in pairs[:place] if after > other]
        late += bool(overtaken and max(overtaken) > scores[one] + SCORE_TOLERANCE)
    return late


def _same_mask(
    expected: Mapping[str, NDArray[Any]], one: int, found: Mapping[str, NDArray[Any]], other: int
) -> bool:
    name = next((name for name in ('masks', 'mask_logits') if name in expected), None)
    if name is None:
        return True
    first, second = expected[name][one], found[name][other]
    if name == 'mask_logits':
        first, second = first > 0, second > 0
    if first.dtype != np.bool_:
        # Inside their boxes: probabilities that are nearly the same give nearly the same masks.
        return bool(np.abs(first - second).max() <= 1 - MASK_TOLERANCE)
    union = (first | second).sum()
    return bool(union == 0 or (first & second).sum() / union >= MASK_TOLERANCE)
