"""The nuScenes detection score: AP by center distance, and the errors of matched boxes.

The definition is that of the nuScenes detection task (Caesar et al., 2020, section 3.1).
Detections are matched in order of confidence, each with the closest annotation of its class that is
still unmatched; a match closer than the threshold is a true positive. Precision is interpolated at
101 recalls. AP is the mean of max(precision − 0.1, 0) / 0.9 over the recalls above 0.1. An error is
the running mean over the true positives at 2 m, averaged from recall 0.1 to the greatest reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsevit_mm.det3d.evaluation.ground_boxes import NO_ATTRIBUTE, FloatArray, GroundBoxes

THRESHOLDS = (0.5, 1.0, 2.0, 4.0)
"""Distances on the ground below which a detection is a true positive, meters."""

ERROR_THRESHOLD = 2.0
"""The threshold of the matches whose errors are measured, meters."""

MIN_RECALL = 0.1
MIN_PRECISION = 0.1
PRECISION_WEIGHT = 5
"""Weight of mAP against that of one error in the nuScenes detection score."""

ERRORS = {
    'ATE': 'translation: distance of the centers on the ground, meters',
    'ASE': 'scale: 1 - IoU of the boxes laid over each other',
    'AOE': 'orientation: smallest angle between the headings, radians',
    'AVE': 'velocity: length of the difference, meters a second',
    'AAE': 'attribute: 1 - accuracy',
}

UNDEFINED_ERRORS = {
    'barrier': ('AVE', 'AAE'),
    'traffic_cone': ('AOE', 'AVE', 'AAE'),
}
"""Errors that nuScenes leaves out for a class."""

HALF_TURN_CLASSES = ('barrier',)
"""Classes whose front looks like their back: headings half a turn apart are equal."""

_RECALLS = np.linspace(0, 1, 101)
_FIRST = round(100 * MIN_RECALL) + 1  # recall 0.1 itself is left out


@dataclass(frozen=True)
class Curve:
    """Precision, confidence and errors of one class at one threshold, at 101 recalls from 0 to 1.

    Attributes:
        precision: (101,), 0 beyond the greatest recall.
        confidence: (101,), 0 beyond the greatest recall.
        errors: Running mean of each error, (101,).
    """

    precision: FloatArray
    confidence: FloatArray
    errors: dict[str, FloatArray]

    @property
    def average_precision(self) -> float:
        """Average precision, 0–1."""
        above = np.maximum(self.precision[_FIRST:] - MIN_PRECISION, 0)
        return float(np.mean(above)) / (1.0 - MIN_PRECISION)

    def mean_error(self, name: str) -> float:
        """Mean over the recalls above 0.1 that are reached; 1 if there are none."""
        reached = np.nonzero(self.confidence)[0]
        last = reached[-1] if len(reached) else 0
        return 1.0 if last < _FIRST else float(np.mean(self.errors[name][_FIRST : last + 1]))


def class_curve(
    annotated: Sequence[GroundBoxes],
    detected: Sequence[GroundBoxes],
    label: int,
    threshold: float,
    half_turn: bool = False,
) -> Curve | None:
    """Matches the detections of a class and computes its curve.

    Args:
        annotated: Ground truth, one for each frame.
        detected: Detections of the same frames.
        label: Label of the class.
        threshold: A true positive is closer than this, meters.
        half_turn: Whether headings that differ by half a turn are the same.

    Returns:
        None if the class is in no frame's ground truth.
    """
    wanted = [boxes.where(boxes.labels == label) for boxes in annotated]
    found = [boxes.where(boxes.labels == label) for boxes in detected]
    positives = sum(map(len, wanted))
    if not positives:
        return None
    scores = np.concatenate([boxes.scores for boxes in found])
    places = [(frame, row) for frame, boxes in enumerate(found) for row in range(len(boxes))]
    # Of equal scores, the later one first, as nuScenes sorts.
    order = np.lexsort((np.arange(len(scores)), scores))[::-1]

    free = [np.ones(len(boxes), dtype=bool) for boxes in wanted]
    hits = np.zeros(len(order), dtype=bool)
    errors = []
    for rank, number in enumerate(order):
        frame, row = places[number]
        candidates = np.flatnonzero(free[frame])
        if not len(candidates):
            continue
        offsets = wanted[frame].centers[candidates, :2] - found[frame].centers[row, :2]
        distances = np.linalg.norm(offsets, axis=1)
        nearest = int(distances.argmin())
        if distances[nearest] < threshold:
            match = candidates[nearest]
            free[frame][match] = False
            hits[rank] = True
            errors.append(_errors(wanted[frame], match, found[frame], row, half_turn))
    if not errors:
        missed = {name: np.ones(len(_RECALLS)) for name in ERRORS}
        return Curve(np.zeros(len(_RECALLS)), np.zeros(len(_RECALLS)), missed)

    confident = scores[order]
    recall = np.cumsum(hits) / positives
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    confidence = np.interp(_RECALLS, recall, confident, right=0)
    at_hits = confident[hits]
    means = {
        name: np.interp(confidence[::-1], at_hits[::-1], _running_mean(values)[::-1])[::-1]
        for name, values in zip(ERRORS, np.array(errors).T)
    }
    return Curve(np.interp(_RECALLS, recall, precision, right=0), confidence, means)


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class.

    Attributes:
        average_precisions: One for each threshold, 0–1.
        errors: By name; undefined ones are missing.
    """

    average_precisions: dict[float, float]
    errors: dict[str, float]

    @property
    def average_precision(self) -> float:
        """Mean over the thresholds."""
        return float(np.mean(list(self.average_precisions.values())))


@dataclass(frozen=True)
class DetectionScore:
    """Scores of all classes.

    Attributes:
        classes: By name.
    """

    classes: dict[str, ClassScore]

    @property
    def mean_average_precision(self) -> float:
        """Mean over classes and thresholds; 0 without classes."""
        means = [score.average_precision for score in self.classes.values()]
        return float(np.mean(means)) if means else 0.0

    @property
    def mean_errors(self) -> dict[str, float]:
        """Each error's mean over the classes that define it; missing where none does."""
        by_name = {
            name: [score.errors[name] for score in self.classes.values() if name in score.errors]
            for name in ERRORS
        }
        return {name: float(np.mean(values)) for name, values in by_name.items() if values}

    @property
    def detection_score(self) -> float:
        """The nuScenes detection score (NDS) of mAP and the errors that are defined."""
        merits = [max(0.0, 1.0 - error) for error in self.mean_errors.values()]
        total = PRECISION_WEIGHT * self.mean_average_precision + sum(merits)
        return total / (PRECISION_WEIGHT + len(merits))


def detection_score(
    annotated: Sequence[GroundBoxes],
    detected: Sequence[GroundBoxes],
    classes: Sequence[str],
    errors: Sequence[str] = tuple(ERRORS),
    count_absent_classes: bool = False,
) -> DetectionScore:
    """Scores the detections of a set of frames.

    Args:
        annotated: Ground truth, one for each frame.
        detected: Detections of the same frames.
        classes: Class names; a label is an index into them.
        errors: Names of the errors that both the data and the detector define.
        count_absent_classes: Whether classes without any annotation count, with precision 0 and
            errors 1 as in nuScenes, or are left out.
    """
    scores = {}
    for label, name in enumerate(classes):
        curves = {
            threshold: class_curve(annotated, detected, label, threshold, name in HALF_TURN_CLASSES)
            for threshold in THRESHOLDS
        }
        defined = [error for error in errors if error not in UNDEFINED_ERRORS.get(name, ())]
        if (reference := curves[ERROR_THRESHOLD]) is not None:
            scores[name] = ClassScore(
                {at: curve.average_precision for at, curve in curves.items() if curve is not None},
                {error: reference.mean_error(error) for error in defined},
            )
        elif count_absent_classes:
            scores[name] = ClassScore(dict.fromkeys(THRESHOLDS, 0.0), dict.fromkeys(defined, 1.0))
    return DetectionScore(scores)


def _errors(
    wanted: GroundBoxes, match: int, found: GroundBoxes, row: int, half_turn: bool
) -> tuple[float, ...]:
    """Errors of one true positive in the order of `ERRORS`; NaN where undefined."""
    period = np.pi if half_turn else 2 * np.pi
    turn = (wanted.yaws[match] - found.yaws[row] + period / 2) % period - period / 2
    overlap = np.minimum(wanted.sizes[match], found.sizes[row]).prod()
    union = wanted.sizes[match].prod() + found.sizes[row].prod() - overlap
    known = wanted.attributes[match] != NO_ATTRIBUTE
    return (
        float(np.linalg.norm(wanted.centers[match, :2] - found.centers[row, :2])),
        float(1 - overlap / union),
        float(abs(turn)),
        float(np.linalg.norm(wanted.velocities[match, :2] - found.velocities[row, :2])),
        float(wanted.attributes[match] != found.attributes[row]) if known else np.nan,
    )


def _running_mean(values: FloatArray) -> FloatArray:
    """Running mean that skips NaN; all ones if every value is NaN."""
    known = ~np.isnan(values)
    if not known.any():
        return np.ones(len(values))
    counts = np.cumsum(known)
    return np.divide(np.nancumsum(values), counts, out=np.zeros(len(values)), where=counts > 0)
