"""Boxes of random frames, and detections that are partly right."""

from __future__ import annotations

import numpy as np

from sparsevit_mm.det3d.evaluation.ground_boxes import GroundBoxes


def random_frame(rng, number, classes=10, attributes=8, reach=40.0):
    """Annotated boxes of one frame, on the ground."""
    rows = np.concatenate(
        [
            rng.uniform(-reach, reach, (number, 2)),
            rng.uniform(-1, 1, (number, 1)),
            rng.uniform(0.3, 8, (number, 3)),
            rng.uniform(-np.pi, np.pi, (number, 1)),
            rng.normal(0, 3, (number, 2)),
        ],
        axis=1,
    )
    return GroundBoxes.of_lidar(
        rows,
        rng.integers(0, classes, number),
        attributes=rng.integers(-1, attributes, number),
    )


def disturbed(rng, boxes, spread=1.0, false_positives=5, classes=10):
    """Detections: some boxes of a frame a little off, some of another class, some of nothing."""
    found = rng.random(len(boxes)) < 0.8
    hit = boxes.where(found)
    labels = np.where(rng.random(len(hit)) < 0.1, rng.integers(0, classes, len(hit)), hit.labels)
    stray = random_frame(rng, false_positives, classes)
    yaws = np.concatenate([hit.yaws + rng.normal(0, 0.5, len(hit)), stray.yaws])
    centers = np.concatenate(
        [hit.centers + rng.normal(0, spread, hit.centers.shape), stray.centers]
    )
    sizes = np.concatenate([hit.sizes * rng.uniform(0.7, 1.4, hit.sizes.shape), stray.sizes])
    velocities = np.concatenate([hit.velocities, stray.velocities])[:, :2]
    return GroundBoxes.of_lidar(
        np.concatenate([centers, sizes, yaws[:, None], velocities + 0.3], axis=1),
        np.concatenate([labels, stray.labels]),
        attributes=np.concatenate([np.maximum(hit.attributes, 0), stray.attributes]),
        scores=rng.integers(0, 50, len(yaws)) / 50,  # so that equal scores occur
    )
