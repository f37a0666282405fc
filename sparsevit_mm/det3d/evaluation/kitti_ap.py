"""KITTI's average precision of boxes in the image (2D), from above (BEV) and in space (3D).

The rules are those of KITTI's object evaluation (Geiger et al., 2012): which objects count depends
on their height in the image, occlusion and truncation; harder objects and those of a similar class
are ignored: they count neither for nor against. Confidence thresholds are taken where recall
passes each of 41 equal steps; at each threshold the detections are matched again, and precision
becomes the maximum over all larger recalls. AP11 averages precision over the recalls 0, 0.1, … 1,
AP40 over 1/40, 2/40, … 1.

A class with N counted objects passes at most N steps: with fewer than 41, even perfect detections
score less than 100, in KITTI's program as here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Overlaps = Callable[[FloatArray, FloatArray], FloatArray]

STEPS = 41
DONT_CARE = 'DontCare'

NEIGHBORS = {'Pedestrian': 'Person_sitting', 'Car': 'Van'}
"""Similar class whose objects are ignored when a class is scored."""


@dataclass(frozen=True)
class Difficulty:
    """Limits within which annotated objects count.

    Attributes:
        min_height: In the image, pixels; annotations must be higher, detections at least as high.
        max_occlusion: 0 visible, 1 partly, 2 largely occluded.
        max_truncation: Share outside the image, 0–1.
    """

    min_height: float
    max_occlusion: int
    max_truncation: float


DIFFICULTIES = {
    'easy': Difficulty(40, 0, 0.15),
    'moderate': Difficulty(25, 1, 0.3),
    'hard': Difficulty(25, 2, 0.5),
}


@dataclass(frozen=True)
class ImageObjects:
    """Annotated or detected objects of one image.

    Attributes:
        names: Classes, (N,).
        boxes_2d: Left, top, right, bottom in the image, (N, 4), pixels.
        boxes_3d: In the camera's frame (x right, y down, z forward), (N, 7): x, y, z of the center
            of the bottom, length, height, width, meters; rotation about y, radians.
        scores: Confidences of detections, (N,).
        occluded: Of annotations, (N,).
        truncated: Of annotations, (N,).
    """

    names: NDArray[np.str_]
    boxes_2d: FloatArray
    boxes_3d: FloatArray
    scores: FloatArray
    occluded: FloatArray
    truncated: FloatArray

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        boxes_2d: ArrayLike,
        boxes_3d: ArrayLike,
        scores: ArrayLike | None = None,
        occluded: ArrayLike | None = None,
        truncated: ArrayLike | None = None,
    ) -> ImageObjects:
        """Builds them from anything array-like; omitted columns are 0."""
        number = len(names)

        def column(values: ArrayLike | None) -> FloatArray:
            filled = np.zeros(number) if values is None else np.asarray(values, dtype=np.float64)
            return filled.reshape(number)

        return cls(
            np.asarray(names, dtype=np.str_).reshape(number),
            np.asarray(boxes_2d, dtype=np.float64).reshape(number, 4),
            np.asarray(boxes_3d, dtype=np.float64).reshape(number, 7),
            column(scores),
            column(occluded),
            column(truncated),
        )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def heights(self) -> FloatArray:
        """Heights in the image, (N,), pixels."""
        return np.abs(self.boxes_2d[:, 3] - self.boxes_2d[:, 1])


def image_overlaps(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """IoU of rectangles, (N, 4) and (M, 4) → (N, M)."""
    shared = _shared_image_area(boxes, others)
    areas, other_areas = (np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (boxes, others))
    return _ratio(shared, areas[:, None] + other_areas - shared)


def ground_overlaps(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """IoU on the ground of boxes in the camera's frame, (N, 7) and (M, 7) → (N, M)."""
    shared = _shared_ground_area(boxes, others)
    areas, other_areas = boxes[:, 3] * boxes[:, 5], others[:, 3] * others[:, 5]
    return _ratio(shared, areas[:, None] + other_areas - shared)


def space_overlaps(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """IoU in space of boxes in the camera's frame, (N, 7) and (M, 7) → (N, M)."""
    bottom = np.minimum(boxes[:, None, 1], others[None, :, 1])
    top = np.maximum((boxes[:, 1] - boxes[:, 4])[:, None], others[:, 1] - others[:, 4])
    shared = _shared_ground_area(boxes, others) * np.maximum(bottom - top, 0)
    volumes, other_volumes = (np.prod(each[:, 3:6], axis=1) for each in (boxes, others))
    return _ratio(shared, volumes[:, None] + other_volumes - shared)


KINDS: dict[str, tuple[str, Overlaps]] = {
    '2D': ('boxes_2d', image_overlaps),
    'BEV': ('boxes_3d', ground_overlaps),
    '3D': ('boxes_3d', space_overlaps),
}
"""The boxes that are compared, and their IoU."""


class ClassComparison:
    """Compares the annotated and detected objects of a set of images by one kind of box.

    Overlaps are computed once for all classes and difficulties.

    Args:
        annotated: Objects of each image.
        detected: Objects of the same images.
        kind: '2D', 'BEV' or '3D'.
    """

    def __init__(
        self, annotated: Sequence[ImageObjects], detected: Sequence[ImageObjects], kind: str
    ) -> None:
        boxes, overlaps = KINDS[kind]
        self._images = [
            (truth, found, overlaps(getattr(found, boxes), getattr(truth, boxes)))
            for truth, found in zip(annotated, detected)
        ]
        self._spares_dont_care = kind == '2D'

    def precision(self, name: str, difficulty: Difficulty, min_overlap: float) -> FloatArray:
        """Precision at each of the 41 steps of recall.

        Args:
            name: The class.
            difficulty: Limits within which annotations count.
            min_overlap: IoU that a match must exceed.

        Returns:
            (41,), 0–1, non-increasing; 0 at steps that recall does not reach.
        """
        images = [
            _Matching.of(truth, found, overlaps, name, difficulty, min_overlap)
            for truth, found, overlaps in self._images
        ]
        hits = np.concatenate([image.true_positive_scores() for image in images] or [np.zeros(0)])
        positives = sum(int(image.counts.sum()) for image in images)
        precision = np.zeros(STEPS)
        for step, threshold in enumerate(_thresholds(hits, positives)):
            right, wrong = np.sum(
                [image.count_positives(threshold, self._spares_dont_care) for image in images],
                axis=0,
            )
            precision[step] = right / max(right + wrong, 1)
        return np.maximum.accumulate(precision[::-1])[::-1]


def ap11(precision: FloatArray) -> float:
    """Average over the recalls 0, 0.1, … 1, percent."""
    return 100 * float(precision[::4].mean())


def ap40(precision: FloatArray) -> float:
    """Average over the recalls 1/40, 2/40, … 1, percent."""
    return 100 * float(precision[1:].mean())


class _Matching:
    """Matches the objects of one image that concern one class and difficulty.

    Attributes:
        counts: Whether an annotation counts (else it is ignored), (G,).
        ignored: Whether a detection is too small to count, (D,).
    """

    def __init__(
        self,
        counts: NDArray[np.bool_],
        ignored: NDArray[np.bool_],
        scores: FloatArray,
        overlaps: FloatArray,
        spared: NDArray[np.bool_],
        min_overlap: float,
    ) -> None:
        self.counts, self.ignored, self._scores = counts, ignored, scores
        self._overlaps, self._spared, self._min_overlap = overlaps, spared, min_overlap
        self._known: dict[int, tuple[int, int]] = {}

    @classmethod
    def of(
        cls,
        truth: ImageObjects,
        found: ImageObjects,
        overlaps: FloatArray,
        name: str,
        difficulty: Difficulty,
        min_overlap: float,
    ) -> _Matching:
        same = truth.names == name
        counted = (
            same
            & (truth.occluded <= difficulty.max_occlusion)
            & (truth.truncated <= difficulty.max_truncation)
            & (truth.heights > difficulty.min_height)
        )
        matters = same | (truth.names == NEIGHBORS.get(name, name))
        # Small detections are ignored whatever their class is, as in KITTI's program.
        small = found.heights < difficulty.min_height
        usable = small | (found.names == name)
        dont_care = truth.boxes_2d[truth.names == DONT_CARE]
        boxes = found.boxes_2d[usable]
        areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        covered = _ratio(_shared_image_area(boxes, dont_care), areas[:, None])
        return cls(
            counted[matters],
            small[usable],
            found.scores[usable],
            overlaps[np.ix_(usable, matters)],
            (covered > min_overlap).any(axis=1),
            min_overlap,
        )

    def true_positive_scores(self) -> FloatArray:
        """Scores of the detections that match a counted annotation."""
        free = np.ones(len(self._scores), dtype=bool)
        hits = []
        for column, counts in enumerate(self.counts):
            candidates = np.flatnonzero(free & (self._overlaps[:, column] > self._min_overlap))
            if not len(candidates):
                continue
            match = candidates[self._scores[candidates].argmax()]
            free[match] = False
            if counts and not self.ignored[match]:
                hits.append(self._scores[match])
        return np.array(hits)

    def count_positives(self, threshold: float, spares_dont_care: bool) -> tuple[int, int]:
        """True and false positives among the detections at least this confident."""
        kept = self._scores >= threshold
        number = int(kept.sum())
        if number not in self._known:
            self._known[number] = self._count(kept, spares_dont_care)
        return self._known[number]

    def _count(self, kept: NDArray[np.bool_], spares_dont_care: bool) -> tuple[int, int]:
        free, right = kept.copy(), 0
        for column, counts in enumerate(self.counts):
            overlap = self._overlaps[:, column]
            candidates = np.flatnonzero(free & (overlap > self._min_overlap))
            if not len(candidates):
                continue
            full = candidates[~self.ignored[candidates]]
            match = full[overlap[full].argmax()] if len(full) else candidates[0]
            free[match] = False
            right += bool(counts and len(full))
        wrong = free & ~self.ignored
        if spares_dont_care:
            wrong &= ~self._spared
        return right, int(wrong.sum())


def _thresholds(scores: FloatArray, positives: int) -> list[float]:
    """Confidences at which recall is nearest to each step that it passes."""
    thresholds: list[float] = []
    ordered = np.sort(scores)[::-1]
    wanted = 0.0
    for place, score in enumerate(ordered):
        recall, last = (place + 1) / positives, place == len(ordered) - 1
        following = recall if last else (place + 2) / positives
        if not last and following - wanted < wanted - recall:
            continue
        thresholds.append(float(score))
        wanted += 1 / (STEPS - 1)
    return thresholds


def _shared_image_area(boxes: FloatArray, others: FloatArray) -> FloatArray:
    least = np.maximum(boxes[:, None, :2], others[None, :, :2])
    greatest = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.prod(np.maximum(greatest - least, 0), axis=2)


def _shared_ground_area(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """Intersection areas on the ground, (N, M), square meters."""
    import shapely  # comes with MMDetection3D; other frameworks do not need it

    outlines, other_outlines = (shapely.polygons(_ground_corners(each)) for each in (boxes, others))
    return shapely.area(shapely.intersection(outlines[:, None], other_outlines[None, :]))


def _ground_corners(boxes: FloatArray) -> FloatArray:
    """Corners on the ground, (N, 4, 2): x and z."""
    signs = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) / 2
    along, across = (signs * boxes[:, None, [3, 5]]).transpose(2, 0, 1)
    cos, sin = np.cos(boxes[:, 6:]), np.sin(boxes[:, 6:])
    return np.stack(
        [
            boxes[:, :1] + cos * along + sin * across,
            boxes[:, 2:3] - sin * along + cos * across,
        ],
        axis=2,
    )


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Quotient of part and whole; 0 where part is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=part > 0)
