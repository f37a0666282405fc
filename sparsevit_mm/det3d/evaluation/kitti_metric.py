"""KITTI's average precision as a metric of mmengine that runs on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from sparsevit_mm.det3d.evaluation.ground_boxes import stands_in_camera
from sparsevit_mm.det3d.evaluation.info_lookup import InfoLookup, SampleId
from sparsevit_mm.det3d.evaluation.kitti_ap import (
    DIFFICULTIES,
    DONT_CARE,
    KINDS,
    ClassComparison,
    FloatArray,
    ImageObjects,
    ap11,
    ap40,
)
from sparsevit_mm.errors import ConfigError, DataError
from sparsevit_mm.registry import METRICS

MIN_OVERLAPS = {
    'strict': {'Car': 0.7, 'Van': 0.7, 'Pedestrian': 0.5, 'Cyclist': 0.5, 'Person_sitting': 0.5},
    'loose': {'Car': 0.5, 'Van': 0.5, 'Pedestrian': 0.25, 'Cyclist': 0.25, 'Person_sitting': 0.25},
}
"""IoU that a match must exceed: KITTI's own, and a looser one for BEV and 3D."""

_NEAREST = 0.1  # meters in front of a camera, for corners that lie behind it


@METRICS.register_module()
class KittiAPMetric(BaseMetric):
    """AP11 and AP40 of a camera's boxes in the image (2D), from above (BEV) and in space (3D).

    The numbers equal those of MMDetection3D's `KittiMetric`, which needs CUDA. The 2D box of a
    detection encloses its 3D box in the image; detections outside the image are left out.

    Results are `Car_3D_AP40_moderate_strict` and so on for each class, kind (`2D`, `BEV`, `3D`),
    `AP11` and `AP40`, difficulty (`easy`, `moderate`, `hard`) and overlap (`strict`; `loose` for
    BEV and 3D), and with several classes their mean at strict overlap, `Overall_3D_AP40_moderate`;
    all in percent. A class with fewer than 41 counted objects cannot reach 100: KITTI reads
    precision at 41 recalls, and N objects reach at most N of them.

    Args:
        ann_file: Info file of MMDetection3D, version 2.
        default_cam_key: Key of the camera in the info file.
        backend_args: mmengine's file backend for `ann_file`.
        collect_device: Where results of several processes are gathered, 'cpu' or 'gpu'.
        prefix: Prefix of the results' names, 'KITTI' by default.

    Raises:
        ConfigError: If KITTI defines no overlap for a class, or the info file cannot be read.
        DataError: If boxes are not a camera's, or a data sample is not in the info file.
    """

    default_prefix = 'KITTI'

    def __init__(
        self,
        ann_file: str,
        default_cam_key: str = 'CAM2',
        backend_args: dict[str, Any] | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ann_file = ann_file
        self.default_cam_key = default_cam_key
        self.backend_args = backend_args

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Collects the detections of a batch."""
        for sample in data_samples:
            found = sample['pred_instances_3d']
            boxes = found['bboxes_3d']
            if not stands_in_camera(boxes):
                raise DataError(
                    f'Detected boxes are {type(boxes).__name__}, but must be '
                    'CameraInstance3DBoxes; set box_type_3d of the data set to Camera.'
                )
            arrays = (boxes.tensor[:, :7], boxes.corners, found['scores_3d'], found['labels_3d'])
            plain = tuple(array.detach().cpu().numpy() for array in arrays)
            self.results.append((SampleId.of(sample), plain))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Computes all scores, see the class."""
        classes = list(self.dataset_meta['classes'])
        for name in classes:
            if name not in MIN_OVERLAPS['strict']:
                raise ConfigError(
                    f'classes contain {name!r}, but KITTI defines overlaps only for '
                    f'{", ".join(MIN_OVERLAPS["strict"])}.'
                )
        infos = InfoLookup(self.ann_file, backend_args=self.backend_args)
        annotated, detected = [], []
        for sample_id, boxes in results:
            info, _ = infos.find(sample_id)
            annotated.append(_annotated(info['instances'], infos.class_names))
            detected.append(_detected(boxes, info['images'][self.default_cam_key], classes))

        numbers = {}
        for kind in KINDS:
            comparison = ClassComparison(annotated, detected, kind)
            for difficulty, limits in DIFFICULTIES.items():
                for strictness in ('strict',) if kind == '2D' else ('strict', 'loose'):
                    for name in classes:
                        least = MIN_OVERLAPS[strictness][name]
                        precision = comparison.precision(name, limits, least)
                        for average, of in (('AP11', ap11), ('AP40', ap40)):
                            key = f'{name}_{kind}_{average}_{difficulty}_{strictness}'
                            numbers[key] = of(precision)
        if len(classes) > 1:
            for key in [key for key in numbers if key.startswith(classes[0]) and 'strict' in key]:
                measure = key.removeprefix(classes[0]).removesuffix('_strict')
                of_all = [numbers[f'{name}{measure}_strict'] for name in classes]
                numbers[f'Overall{measure}'] = float(np.mean(of_all))
        return numbers


def _annotated(instances: Sequence[dict[str, Any]], names: dict[int, str]) -> ImageObjects:
    return ImageObjects.of(
        [names.get(one['bbox_label'], DONT_CARE) for one in instances],
        [one['bbox'] for one in instances],
        [one['bbox_3d'][:7] for one in instances],
        occluded=[one['occluded'] for one in instances],
        truncated=[one['truncated'] for one in instances],
    )


def _detected(
    found: tuple[FloatArray, ...], image: dict[str, Any], classes: Sequence[str]
) -> ImageObjects:
    """Detections that the image shows, with their 2D boxes.

    Args:
        found: Boxes (N, 7), corners (N, 8, 3), scores (N,) and labels (N,).
        image: The image's entry in the info file: calibration and size.
        classes: Class names.
    """
    boxes, corners, scores, labels = found
    to_image = np.array(image['cam2img'], dtype=np.float64)[:3]
    size = np.array([image['width'], image['height']])
    corners = corners.astype(np.float64)
    corners[..., 2] = np.maximum(corners[..., 2], _NEAREST)
    points = corners @ to_image[:, :3].T + (to_image[:, 3] if to_image.shape[1] == 4 else 0)
    pixels = points[..., :2] / points[..., 2:]
    least, greatest = pixels.min(axis=1), pixels.max(axis=1)
    seen = (least < size).all(axis=1) & (greatest > 0).all(axis=1)
    covered = np.concatenate([np.maximum(least, 0), np.minimum(greatest, size)], axis=1)
    return ImageObjects.of(
        [classes[label] for label in labels[seen]], covered[seen], boxes[seen], scores[seen]
    )
