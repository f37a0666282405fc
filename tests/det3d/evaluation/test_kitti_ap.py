from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch

from sparsevit_mm.det3d.evaluation.kitti_ap import (
    DIFFICULTIES,
    KINDS,
    ClassComparison,
    ImageObjects,
    ap11,
    ap40,
    ground_overlaps,
    image_overlaps,
    space_overlaps,
)
from sparsevit_mm.det3d.evaluation.kitti_metric import MIN_OVERLAPS

EASY, HARD = DIFFICULTIES['easy'], DIFFICULTIES['hard']


def objects(number, name='Car', offset=0.0, height=60.0, **others):
    """Cars side by side, apart from each other; `offset` moves them along their length, meters."""
    places = np.arange(number, dtype=float)
    boxes_2d = np.stack([places * 100, places * 0, places * 100 + 80, places * 0 + height], axis=1)
    boxes_3d = np.tile([0, 1.5, 20, 4, 1.5, 1.8, 0.0], (number, 1))
    boxes_3d[:, 0] += places * 10 + offset
    return ImageObjects.of([name] * number, boxes_2d, boxes_3d, **others)


def joined(*parts):
    return ImageObjects(*(np.concatenate(v) for v in zip(*(vars(p).values() for p in parts))))


def precision(annotated, detected, kind='3D', name='Car', difficulty=EASY, min_overlap=0.7):
    comparison = ClassComparison([annotated], [detected], kind)
    return comparison.precision(name, difficulty, min_overlap)


class TestOverlaps:
    def test_image(self):
        boxes = np.array([[0, 0, 10, 10.0]])
        others = np.array([[5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 10, 10.0]])
        assert image_overlaps(boxes, others) == pytest.approx(np.array([[1 / 3, 0, 1]]))

    def test_turned_boxes(self):
        # A square in a square turned by an eighth: the octagon has 2 (√2 - 1) of a unit square.
        square = np.array([[0, 0, 0, 1, 1, 1, 0.0]])
        turned = np.array([[0, 0, 0, 1, 1, 1, np.pi / 4]])
        octagon = 2 * (np.sqrt(2) - 1)
        expected = octagon / (2 - octagon)
        assert ground_overlaps(square, turned)[0, 0] == pytest.approx(expected, abs=1e-12)
        assert space_overlaps(square, turned)[0, 0] == pytest.approx(expected, abs=1e-12)

    def test_turn_is_from_z_to_x(self):
        # Rotation about y turns the length from x toward -z.
        along = np.array([[0, 0, 0, 4, 1, 1, 0.5]])
        end = np.array([[2 * np.cos(0.5), 0, -2 * np.sin(0.5), 0.2, 1, 0.2, 0]])
        assert ground_overlaps(along, end)[0, 0] > 0
        end[0, 2] *= -1
        assert ground_overlaps(along, end)[0, 0] == 0

    def test_y_is_the_bottom_and_down(self):
        box, above = np.array([[0, 0, 0, 1, 2, 1, 0.0]]), np.array([[0, -1, 0, 1, 2, 1, 0.0]])
        assert space_overlaps(box, above)[0, 0] == pytest.approx(1 / 3)
        above[0, 1] = 3
        assert space_overlaps(box, above)[0, 0] == 0

    def test_against_another_library(self):
        from mmcv.ops import box_iou_rotated

        rng = np.random.default_rng(0)
        boxes = rng.uniform([-3, 0, -3, 0.5, 1, 0.5, -4], [3, 1, 3, 5, 2, 5, 4], (40, 7))
        flat = boxes[:, [0, 2, 3, 5, 6]]
        flat[:, 4] *= -1
        expected = box_iou_rotated(torch.tensor(flat).float(), torch.tensor(flat).float()).numpy()
        assert ground_overlaps(boxes, boxes) == pytest.approx(expected, abs=1e-4)

    def test_nothing(self):
        none = np.zeros((0, 7))
        assert ground_overlaps(none, np.ones((3, 7))).shape == (0, 3)
        assert space_overlaps(np.ones((3, 7)), none).shape == (3, 0)


class TestRules:
    @pytest.mark.parametrize('kind', KINDS)
    def test_right_detections(self, kind):
        truth = objects(41)
        found = objects(41, scores=np.linspace(0.2, 0.9, 41))
        curve = precision(truth, found, kind)
        assert (ap11(curve), ap40(curve)) == (100, 100)

    def test_forty_objects_miss_the_last_step(self):
        curve = precision(objects(40), objects(40, scores=np.linspace(0.2, 0.9, 40)))
        assert ap40(curve) == pytest.approx(100 * 39 / 40)
        assert ap11(curve) == pytest.approx(100 * 10 / 11)

    def test_missing_half(self):
        truth, found = objects(82), objects(41, scores=np.linspace(0.2, 0.9, 41))
        # Recall reaches one half: steps 0 to 20 of 40.
        curve = precision(truth, found)
        assert curve.tolist() == [1] * 21 + [0] * 20
        assert ap11(curve) == pytest.approx(100 * 6 / 11)

    def test_duplicates_are_wrong(self):
        found = objects(41, scores=np.linspace(0.5, 0.9, 41))
        again = objects(41, scores=np.linspace(0.1, 0.4, 41))
        # The weaker ones come after all right ones: no step sees them.
        assert ap40(precision(objects(41), joined(found, again))) == 100
        twice = joined(found, objects(41, scores=found.scores))
        assert precision(objects(41), twice) == pytest.approx(np.full(41, 0.5))

    def test_confident_mistake(self):
        stray = ImageObjects.of(['Car'], [[0, 200, 80, 260]], [[500, 1, 9, 4, 1, 1, 0]], [0.99])
        found = joined(objects(41, scores=np.linspace(0.2, 0.9, 41)), stray)
        # One more at every threshold; precision never rises with recall, so 41 of 42 everywhere.
        assert precision(objects(41), found) == pytest.approx(np.full(41, 41 / 42))

    def test_overlap_must_be_exceeded(self):
        found = objects(41, offset=0.8, scores=np.linspace(0.2, 0.9, 41))  # IoU 3.2 / 4.8
        assert precision(objects(41), found, min_overlap=0.66).max() == 1
        assert precision(objects(41), found, min_overlap=0.67).max() == 0

    def test_other_class(self):
        found = objects(41, 'Pedestrian', scores=np.linspace(0.2, 0.9, 41))
        assert precision(objects(41), found).max() == 0

    @pytest.mark.parametrize(
        ('harder', 'counts_at'),
        [
            ({'height': 40}, 'moderate'),
            ({'height': 25}, None),
            ({'occluded': np.ones(20)}, 'moderate'),
            ({'occluded': np.full(20, 2)}, 'hard'),
            ({'truncated': np.full(20, 0.3)}, 'moderate'),
            ({'truncated': np.full(20, 0.51)}, None),
        ],
    )
    def test_difficulty(self, harder, counts_at):
        """Missed objects harder than asked for do no harm; those that count do."""
        far = objects(20, **harder)
        far.boxes_3d[:, 2] += 30
        truth, found = joined(objects(41), far), objects(41, scores=np.linspace(0.2, 0.9, 41))
        names = list(DIFFICULTIES)
        first = names.index(counts_at) if counts_at else len(names)
        for place, name in enumerate(names):
            score = ap40(precision(truth, found, difficulty=DIFFICULTIES[name]))
            assert (score < 100) == (place >= first), name

    def test_found_but_ignored_objects_are_neither(self):
        vans = objects(10, 'Van')
        vans.boxes_3d[:, 2] += 30
        as_cars = ImageObjects.of(['Car'] * 10, vans.boxes_2d, vans.boxes_3d, np.full(10, 0.95))
        found = joined(objects(41, scores=np.linspace(0.2, 0.9, 41)), as_cars)
        assert ap40(precision(joined(objects(41), vans), found)) == 100
        trucks = ImageObjects.of(['Truck'] * 10, vans.boxes_2d, vans.boxes_3d)
        assert ap40(precision(joined(objects(41), trucks), found)) < 100

    def test_small_detections_are_ignored(self):
        stray = objects(5, height=39, scores=np.full(5, 0.95))
        stray.boxes_3d[:, 2] += 30
        found = joined(objects(41, scores=np.linspace(0.2, 0.9, 41)), stray)
        assert ap40(precision(objects(41), found)) == 100
        stray.boxes_2d[:, 3] = 40
        found = joined(objects(41, scores=np.linspace(0.2, 0.9, 41)), stray)
        assert ap40(precision(objects(41), found)) < 100

    def test_what_is_not_cared_for(self):
        """Only in the image, because such areas have no place in space."""
        stray = ImageObjects.of(['Car'], [[0, 200, 80, 260]], [[500, 1, 9, 4, 1, 1, 0]], [0.95])
        area = ImageObjects.of(['DontCare'], [[0, 190, 90, 270]], [[-1000] * 7])
        found = joined(objects(41, scores=np.linspace(0.2, 0.9, 41)), stray)
        truth = joined(objects(41), area)
        assert ap40(precision(truth, found, '2D')) == 100
        assert ap40(precision(truth, found, '3D')) < 100
        assert ap40(precision(objects(41), found, '2D')) < 100

    def test_nothing_at_all(self):
        none = objects(0)
        assert precision(none, none).max() == 0
        assert precision(none, objects(3, scores=np.ones(3))).max() == 0
        assert precision(objects(3), none).max() == 0
        assert ClassComparison([], [], '3D').precision('Car', HARD, 0.7).max() == 0


def random_image(rng, number):
    names = rng.choice(
        ['Car', 'Pedestrian', 'Cyclist', 'Van', 'Person_sitting', 'Truck', 'DontCare'], number
    )
    corner = rng.uniform(0, [1100, 250], (number, 2))
    size = rng.uniform(10, 120, (number, 2))
    boxes_3d = rng.uniform([-15, 1, 5, 1, 1, 0.5, -3.1], [15, 2, 50, 5, 2, 2, 3.1], (number, 7))
    return ImageObjects.of(
        names,
        np.concatenate([corner, corner + size], axis=1),
        boxes_3d,
        occluded=rng.integers(0, 4, number),
        truncated=rng.choice([0, 0.2, 0.4, 0.6], number),
    )


def random_detections(rng, truth):
    found = np.flatnonzero(rng.random(len(truth)) < 0.85)
    found = np.concatenate([found, found[: len(found) // 4]])
    names = truth.names[found].astype('<U16')
    names[~np.isin(names, list(MIN_OVERLAPS['strict']))] = 'Car'
    stray = random_image(rng, 3)
    boxes_2d = truth.boxes_2d[found] + rng.normal(0, 2, (len(found), 4))
    boxes_3d = truth.boxes_3d[found] + rng.normal(0, 0.12, (len(found), 7))
    return ImageObjects.of(
        np.concatenate([names, ['Car', 'Pedestrian', 'Cyclist']]),
        np.concatenate([boxes_2d, stray.boxes_2d]),
        np.concatenate([boxes_3d, stray.boxes_3d]),
        rng.integers(0, 100, len(found) + 3) / 100,
    )


def as_kitti(objects):
    """MMDetection3D's arrays of the same objects."""
    return {
        'name': objects.names,
        'bbox': objects.boxes_2d,
        'location': objects.boxes_3d[:, :3],
        'dimensions': objects.boxes_3d[:, 3:6],
        'rotation_y': objects.boxes_3d[:, 6],
        'score': objects.scores,
        'occluded': objects.occluded,
        'truncated': objects.truncated,
        'alpha': np.full(len(objects), -10.0),
    }


def overlaps_on_cpu(boxes, others, criterion):
    """What MMDetection3D's CUDA kernel computes: IoU (-1) or the shared area (2)."""

    def spaced(flat):
        rows = np.ones((len(flat), 7))
        rows[:, [0, 2, 3, 5, 6]] = flat
        return rows

    iou = ground_overlaps(spaced(boxes), spaced(others))
    areas, other_areas = (each[:, 2] * each[:, 3] for each in (boxes, others))
    return iou if criterion == -1 else iou / (1 + iou) * (areas[:, None] + other_areas)


def test_equals_mmdet3d(monkeypatch):
    """All classes, kinds and difficulties, with MMDetection3D's CUDA kernel replaced."""
    from mmdet3d.evaluation import kitti_eval

    kernel = types.ModuleType('rotate_iou')
    kernel.rotate_iou_gpu_eval = overlaps_on_cpu
    monkeypatch.setitem(sys.modules, 'mmdet3d.evaluation.functional.kitti_utils.rotate_iou', kernel)
    rng = np.random.default_rng(5)
    annotated = [random_image(rng, int(rng.integers(1, 20))) for _ in range(60)]
    detected = [random_detections(rng, truth) for truth in annotated]
    classes = ['Car', 'Pedestrian', 'Cyclist']
    _, expected = kitti_eval(
        [as_kitti(one) for one in annotated], [as_kitti(one) for one in detected], classes
    )
    compared = 0
    for kind in KINDS:
        comparison = ClassComparison(annotated, detected, kind)
        for name in classes:
            for difficulty, limits in DIFFICULTIES.items():
                for strictness in ('strict', 'loose') if kind != '2D' else ('strict',):
                    least = MIN_OVERLAPS[strictness][name]
                    curve = comparison.precision(name, limits, least)
                    for average, of in (('AP11', ap11), ('AP40', ap40)):
                        key = f'KITTI/{name}_{kind}_{average}_{difficulty}_{strictness}'
                        assert of(curve) == pytest.approx(expected[key], abs=1e-9), key
                        compared += of(curve) > 1
    assert compared > 60  # most are well above 0
