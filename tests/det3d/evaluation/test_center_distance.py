from __future__ import annotations

import numpy as np
import pytest

from sparsevit_mm.det3d.evaluation.center_distance import (
    ERRORS,
    HALF_TURN_CLASSES,
    THRESHOLDS,
    UNDEFINED_ERRORS,
    class_curve,
    detection_score,
)
from sparsevit_mm.det3d.evaluation.ground_boxes import LEVELED_CAMERA_TO_GROUND, GroundBoxes
from sparsevit_mm.det3d.evaluation.nuscenes_metric import NUSCENES_CLASS_RANGE
from tests.helpers.random_boxes import disturbed, random_frame

CLASSES = tuple(NUSCENES_CLASS_RANGE)
KIT_NAMES = {
    'ATE': 'trans_err', 'ASE': 'scale_err', 'AOE': 'orient_err', 'AVE': 'vel_err',
    'AAE': 'attr_err',
}  # fmt: skip


def frames_and_detections(seed, frames=12, boxes=25):
    rng = np.random.default_rng(seed)
    annotated = [random_frame(rng, boxes) for _ in range(frames)]
    return annotated, [disturbed(rng, frame) for frame in annotated]


def cars(*places, scores=None):
    rows = [[x, y, 0, 4, 2, 1.5, 0, 0, 0] for x, y in places]
    return GroundBoxes.of_lidar(np.array(rows), np.zeros(len(rows)), scores=scores)


def kit_boxes(frames):
    """nuscenes-devkit's boxes of the same frames."""
    common = pytest.importorskip('nuscenes.eval.common.data_classes', reason='no nuscenes-devkit')
    from nuscenes.eval.detection.constants import ATTRIBUTE_NAMES
    from nuscenes.eval.detection.data_classes import DetectionBox
    from pyquaternion import Quaternion

    boxes = common.EvalBoxes()
    for token, frame in enumerate(frames):
        boxes.add_boxes(
            str(token),
            [
                DetectionBox(
                    sample_token=str(token),
                    translation=tuple(frame.centers[i]),
                    size=tuple(frame.sizes[i][[1, 0, 2]]),
                    rotation=tuple(Quaternion(axis=[0, 0, 1], radians=frame.yaws[i]).elements),
                    velocity=tuple(frame.velocities[i, :2]),
                    detection_name=CLASSES[frame.labels[i]],
                    detection_score=float(frame.scores[i]),
                    attribute_name=(*ATTRIBUTE_NAMES, '')[frame.attributes[i]],
                )
                for i in range(len(frame))
            ],
        )
    return boxes


@pytest.mark.parametrize('seed', range(4))
def test_equals_nuscenes_devkit(seed):
    algo = pytest.importorskip('nuscenes.eval.detection.algo', reason='no nuscenes-devkit')
    from nuscenes.eval.common.utils import center_distance
    from nuscenes.eval.detection.config import config_factory
    from nuscenes.eval.detection.data_classes import DetectionMetrics

    annotated, detected = frames_and_detections(seed)
    # One class that occurs nowhere, one that is never found.
    annotated = [boxes.where(boxes.labels != 3) for boxes in annotated]
    detected = [boxes.where(boxes.labels != 5) for boxes in detected]
    truth, found = kit_boxes(annotated), kit_boxes(detected)
    reference = DetectionMetrics(config_factory('detection_cvpr_2019'))
    for name in CLASSES:
        for threshold in THRESHOLDS:
            data = algo.accumulate(truth, found, name, center_distance, threshold)
            reference.add_label_ap(name, threshold, algo.calc_ap(data, 0.1, 0.1))
            if threshold == 2:
                for error in ERRORS:
                    undefined = error in UNDEFINED_ERRORS.get(name, ())
                    value = np.nan if undefined else algo.calc_tp(data, 0.1, KIT_NAMES[error])
                    reference.add_label_tp(name, KIT_NAMES[error], value)

    score = detection_score(annotated, detected, CLASSES, count_absent_classes=True)

    assert 0.05 < score.mean_average_precision < 0.9
    assert score.mean_average_precision == pytest.approx(reference.mean_ap, abs=1e-9)
    assert score.detection_score == pytest.approx(reference.nd_score, abs=1e-9)
    for error, value in score.mean_errors.items():
        assert value == pytest.approx(reference.tp_errors[KIT_NAMES[error]], abs=1e-9)
    for name, one in score.classes.items():
        for threshold in THRESHOLDS:
            expected = reference.get_label_ap(name, threshold)
            assert one.average_precisions[threshold] == pytest.approx(expected, abs=1e-9)
        for error, value in one.errors.items():
            assert value == pytest.approx(reference.get_label_tp(name, KIT_NAMES[error]), abs=1e-9)


def test_right_detections_score_one():
    annotated, _ = frames_and_detections(0)
    score = detection_score(annotated, annotated, CLASSES)
    assert score.mean_average_precision == pytest.approx(1)
    assert score.detection_score == pytest.approx(1)
    assert set(score.mean_errors) == set(ERRORS)


def test_threshold_is_not_reached():
    truth = [cars((0, 0))]
    assert class_curve(truth, [cars((1.0, 0))], 0, 1.0).average_precision == 0
    assert class_curve(truth, [cars((0.999, 0))], 0, 1.0).average_precision == pytest.approx(1)


def test_second_detection_of_a_car_is_false():
    truth = [cars((0, 0), (10, 0))]
    twice = [cars((0, 0), (0.1, 0), (10, 0), scores=[0.9, 0.8, 0.7])]
    # Precision 1 up to recall 0.5, then along a line to 2/3 at recall 1.
    recalls = np.linspace(0, 1, 101)[11:]
    precision = np.where(recalls <= 0.5, 1, np.interp(recalls, [0.5, 1], [0.5, 2 / 3]))
    precision[recalls == 0.5] = 0.5  # the curve falls at this recall
    expected = np.mean(precision - 0.1) / 0.9
    assert class_curve(truth, twice, 0, 0.5).average_precision == pytest.approx(expected)


def test_detection_takes_the_nearest_free_car():
    truth = [cars((0, 0), (1, 0))]
    near = [cars((0.4, 0), (0.1, 0), scores=[0.9, 0.8])]
    # The second is nearer to the first car, which is taken; it gets the other, 0.9 m away.
    assert class_curve(truth, near, 0, 1.0).average_precision == pytest.approx(1)
    assert class_curve(truth, near, 0, 0.5).average_precision < 0.6


def test_detections_of_another_frame_do_not_match():
    curve = class_curve([cars((0, 0)), cars()], [cars(), cars((0, 0))], 0, 4.0)
    assert curve.average_precision == 0


def test_height_does_not_count():
    low, high = cars((0, 0)), cars((0, 0))
    high.centers[:, 2] = 100
    assert class_curve([low], [high], 0, 0.5).average_precision == pytest.approx(1)


def test_half_turn_of_a_barrier_is_no_error():
    row = np.array([[0, 0, 0, 2.0, 0.5, 1, 0.3]])
    turned = row + np.array([0, 0, 0, 0, 0, 0, np.pi])
    label = CLASSES.index(HALF_TURN_CLASSES[0])
    truth, found = GroundBoxes.of_lidar(row, [label]), GroundBoxes.of_lidar(turned, [label])
    assert class_curve([truth], [found], label, 2.0, True).mean_error('AOE') == pytest.approx(0)
    plain = class_curve([truth], [found], label, 2.0, False)
    assert plain.mean_error('AOE') == pytest.approx(np.pi)


def test_classes_that_do_not_occur():
    truth = [cars((0, 0))]
    assert set(detection_score(truth, truth, CLASSES).classes) == {'car'}
    counted = detection_score(truth, truth, CLASSES, count_absent_classes=True)
    assert counted.mean_average_precision == pytest.approx(1 / len(CLASSES))


def test_score_without_some_errors():
    truth = [cars((0, 0))]
    moved = [cars((1.0, 0))]
    score = detection_score(truth, moved, CLASSES, errors=('ATE', 'ASE'))
    assert set(score.mean_errors) == {'ATE', 'ASE'}
    mean = score.mean_average_precision
    assert mean == pytest.approx(0.5)  # at 2 and 4 m
    assert score.detection_score == pytest.approx((5 * mean + 0 + 1) / 7)


def test_no_frames_score_zero():
    assert detection_score([], [], CLASSES).detection_score == 0


def test_camera_boxes_are_those_of_the_ground():
    # A car 10 m ahead and 2 m to the right, which points to the right of the camera.
    rows = np.array([[2.0, 1, 10, 4, 1.5, 1.8, 0.0, 3, 5]])
    boxes = GroundBoxes.of_camera(rows, [0]).moved(LEVELED_CAMERA_TO_GROUND)
    assert boxes.centers == pytest.approx(np.array([[10, -2, -1]]))
    assert boxes.sizes == pytest.approx(np.array([[4, 1.8, 1.5]]))
    assert boxes.yaws == pytest.approx(-np.pi / 2)
    assert boxes.velocities == pytest.approx(np.array([[5, -3, 0]]))


def test_moving_there_and_back():
    boxes = random_frame(np.random.default_rng(1), 9)
    matrix = np.eye(4)
    angle = 0.7
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = [3, -2, 1]
    moved = boxes.moved(matrix)
    assert np.cos(moved.yaws - boxes.yaws) == pytest.approx(np.cos(angle))
    back = moved.moved(np.linalg.inv(matrix))
    for name, value in vars(boxes).items():
        assert getattr(back, name) == pytest.approx(value), name
