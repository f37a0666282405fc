"""The nuScenes detection scores as a metric of mmengine, for data without nuScenes' tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from sparsevit_mm.det3d.evaluation.center_distance import detection_score
from sparsevit_mm.det3d.evaluation.ground_boxes import (
    LEVELED_CAMERA_TO_GROUND,
    NO_ATTRIBUTE,
    GroundBoxes,
    stands_in_camera,
)
from sparsevit_mm.det3d.evaluation.info_lookup import InfoLookup, SampleId
from sparsevit_mm.errors import ConfigError, DataError
from sparsevit_mm.registry import METRICS

NUSCENES_CLASS_RANGE = {
    'car': 50, 'truck': 50, 'bus': 50, 'trailer': 50, 'construction_vehicle': 50,
    'pedestrian': 40, 'motorcycle': 40, 'bicycle': 40, 'traffic_cone': 30, 'barrier': 30,
}  # fmt: skip
"""Largest distance from the vehicle at which boxes of a class count, meters."""

LOAD_TYPES = ('frame_based', 'mv_image_based')

_NUSCENES_NO_ATTRIBUTE = 8


@METRICS.register_module()
class NuScenesDetectionMetric(BaseMetric):
    """Average precision by center distance, the five errors and NDS, as nuScenes defines them.

    Ground truth comes from an info file of MMDetection3D (version 2) or, without `ann_file`, from
    the `eval_ann_info` of the data samples. With an info file boxes are compared in the world's
    frame, as nuScenes does; without one in their own frame, where a camera counts as level.

    Differences from nuScenes' own evaluation:

    - Bicycles in racks are not removed: only the tables mark them.
    - Detections of a camera are compared image by image with what this camera sees, where
      `NuScenesMetric` merges six cameras.
    - Attributes are compared as predicted.
    - mAP is the mean over the classes that occur; NDS uses the errors that both the predicted and
      the annotated boxes define.

    Results are `mAP`, `NDS`, `mATE`, `mASE`, `mAOE`, `mAVE`, `mAAE`, and for each class such as car
    `car_AP`, `car_AP_0.5m` and so on, `car_ATE` and so on; all of them 0–1, meters or radians.

    Args:
        ann_file: Info file; None takes ground truth from the data samples.
        load_type: The data set's `load_type`: 'frame_based' if a sample is a frame with boxes in
            the LiDAR's frame, 'mv_image_based' if it is one camera's image.
        class_range: Largest distance from the vehicle (without `ann_file`: from the sensor) at
            which boxes of a class count, meters; classes that are not named have no limit.
        count_absent_classes: Whether classes without ground truth count, with AP 0 and errors 1 as
            in nuScenes.
        backend_args: mmengine's file backend for `ann_file`.
        is_whole: Whether the data set has every sample of `ann_file`, in order; otherwise samples
            are found by the names of their images, and those alone are judged.
        collect_device: Where results of several processes are gathered, 'cpu' or 'gpu'.
        prefix: Prefix of the results' names, 'nuscenes' by default.

    Raises:
        ConfigError: If `load_type` is unknown or the info file cannot be read.
        DataError: If a data sample has no ground truth, or is not in the info file.
    """

    default_prefix = 'nuscenes'

    def __init__(
        self,
        ann_file: str | None = None,
        load_type: str = 'frame_based',
        class_range: Mapping[str, float] = NUSCENES_CLASS_RANGE,
        count_absent_classes: bool = False,
        backend_args: dict[str, Any] | None = None,
        is_whole: bool = True,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if load_type not in LOAD_TYPES:
            raise ConfigError(f'load_type is {load_type!r}, but must be one of {LOAD_TYPES}.')
        self.ann_file = ann_file
        self.load_type = load_type
        self.class_range = dict(class_range)
        self.count_absent_classes = count_absent_classes
        self.backend_args = backend_args
        self.is_whole = is_whole

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Collects the detections of a batch, and the annotations if the samples hold them."""
        for sample in data_samples:
            detected = sample['pred_instances_3d']
            boxes = GroundBoxes.of_instances(
                detected['bboxes_3d'],
                detected['labels_3d'].cpu(),
                scores=detected['scores_3d'].cpu(),
                attributes=detected['attr_labels'].cpu() if 'attr_labels' in detected else None,
            )
            if self.ann_file is not None:
                self.results.append((SampleId.of(sample), boxes, None))
                continue
            annotated = sample.get('eval_ann_info')
            if annotated is None:
                raise DataError(
                    'A data sample has no eval_ann_info; let the data set be built with '
                    'test_mode=True and load_eval_anns=True, or name an ann_file.'
                )
            frame = (
                LEVELED_CAMERA_TO_GROUND if stands_in_camera(detected['bboxes_3d']) else np.eye(4)
            )
            truth = _annotated_in_sample(annotated)
            self.results.append((None, boxes.moved(frame), truth.moved(frame)))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Computes all scores, see the class."""
        classes = list(self.dataset_meta['classes'])
        if self.ann_file is not None:
            results = self._join_with_infos(results, classes)
        nearby = [
            (self._in_range(found, classes), self._in_range(truth, classes))
            for _, found, truth in results
        ]
        detected, annotated = [found for found, _ in nearby], [truth for _, truth in nearby]
        score = detection_score(
            annotated,
            detected,
            classes,
            _defined_errors(annotated, detected),
            self.count_absent_classes,
        )
        numbers = {'mAP': score.mean_average_precision, 'NDS': score.detection_score}
        numbers |= {f'm{name}': value for name, value in score.mean_errors.items()}
        for name, one in score.classes.items():
            numbers[f'{name}_AP'] = one.average_precision
            numbers |= {f'{name}_AP_{at}m': value for at, value in one.average_precisions.items()}
            numbers |= {f'{name}_{error}': value for error, value in one.errors.items()}
        return numbers

    def _join_with_infos(self, results: list[Any], classes: list[str]) -> list[Any]:
        """Pairs detections with annotations, in the world's axes with the vehicle at the origin."""
        by_image = self.load_type == 'mv_image_based'
        infos = InfoLookup(str(self.ann_file), by_image, self.backend_args, self.is_whole)
        labels = {
            label: classes.index(name)
            for label, name in infos.class_names.items()
            if name in classes
        }
        joined = []
        for sample_id, found, _ in results:
            info, camera = infos.find(sample_id)
            if camera is None:
                truth = _annotated(info['instances'], labels, in_camera=False)
                to_vehicle = info.get('lidar_points', {}).get('lidar2ego', np.eye(4))
            else:
                truth = _annotated(info['cam_instances'].get(camera, ()), labels, in_camera=True)
                to_vehicle = info['images'][camera]['cam2ego']
            to_world = np.array(info.get('ego2global', np.eye(4)), dtype=np.float64)
            to_world[:3, 3] = 0  # ranges are measured from the vehicle along the world's axes
            matrix = to_world @ np.asarray(to_vehicle, dtype=np.float64)
            joined.append((sample_id, found.moved(matrix), truth.moved(matrix)))
        return joined

    def _in_range(self, boxes: GroundBoxes, classes: list[str]) -> GroundBoxes:
        limits = np.array([self.class_range.get(name, np.inf) for name in classes])
        boxes = boxes.where((boxes.labels >= 0) & (boxes.labels < len(classes)))
        return boxes.where(np.linalg.norm(boxes.centers[:, :2], axis=1) < limits[boxes.labels])


def _annotated(
    instances: Sequence[Mapping[str, Any]], labels: Mapping[int, int], in_camera: bool
) -> GroundBoxes:
    """Ground truth of an info: objects of the wanted classes that a sensor saw."""
    kept = [
        one
        for one in instances
        if one['bbox_label_3d'] in labels and one.get('bbox_3d_isvalid', True)
    ]
    unknown = (np.nan, np.nan)
    build = GroundBoxes.of_camera if in_camera else GroundBoxes.of_lidar
    return build(
        np.array([[*one['bbox_3d'][:7], *one.get('velocity', unknown)] for one in kept]),
        np.array([labels[one['bbox_label_3d']] for one in kept]),
        attributes=_attributes([one.get('attr_label', NO_ATTRIBUTE) for one in kept]),
    )


def _annotated_in_sample(annotated: Mapping[str, Any]) -> GroundBoxes:
    """Ground truth from a data sample's `eval_ann_info`."""
    labels, attributes = np.asarray(annotated['gt_labels_3d']), annotated.get('attr_labels')
    if attributes is None or not len(labels):
        attributes = np.full(len(labels), NO_ATTRIBUTE)
    return GroundBoxes.of_instances(
        annotated['gt_bboxes_3d'], labels, attributes=_attributes(attributes)
    )


def _attributes(labels: Any) -> Any:
    """Attributes of ground truth, with nuScenes' label for no attribute replaced by ours."""
    numbers = np.asarray(labels, dtype=np.int64)
    return np.where(numbers == _NUSCENES_NO_ATTRIBUTE, NO_ATTRIBUTE, numbers)


def _defined_errors(
    annotated: Sequence[GroundBoxes], detected: Sequence[GroundBoxes]
) -> tuple[str, ...]:
    """Errors for which both sides have at least one box with a defined value."""
    defined = ['ATE', 'ASE', 'AOE']
    sides = [boxes for boxes in (_all(annotated), _all(detected)) if len(boxes)]
    if not any(np.isnan(boxes.velocities).any(axis=1).all() for boxes in sides):
        defined.append('AVE')
    if not any((boxes.attributes == NO_ATTRIBUTE).all() for boxes in sides):
        defined.append('AAE')
    return tuple(defined)


def _all(frames: Sequence[GroundBoxes]) -> GroundBoxes:
    empty = GroundBoxes.of_lidar(np.zeros((0, 7)), np.zeros(0))
    parts = [empty, *frames]
    return GroundBoxes(
        *(np.concatenate(values) for values in zip(*(vars(p).values() for p in parts)))
    )
