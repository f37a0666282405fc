"""Where annotated 3D boxes are in the images of the cameras, after all augmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsevit_mm.det3d.drawing.camera_view import project_edges


def boxes_in_images(sample: Any) -> list[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """The upright rectangles around the boxes of a frame, in the images that the network gets.

    Args:
        sample: A data sample with `gt_instances_3d`, boxes in the frame of the augmented map, and
            the meta keys of `LoadCameraImages`.

    Returns:
        For each camera the (n, 4) left, top, right and bottom edges in pixels of what lies more
        than 0.1 m in front of it, which may be outside of the image, and the (n,) labels.
    """
    instances = sample.gt_instances_3d
    corners = instances.bboxes_3d.corners.double().cpu().numpy() @ np.linalg.inv(sample.bev_aug).T
    labels = instances.labels_3d.cpu().numpy()
    found = []
    for pose, cam2img, img_aug in zip(sample.cam2bev, sample.cam2img, sample.img_aug):
        bev2cam = np.linalg.inv(pose)
        lines, owners = project_edges(corners @ bev2cam[:3, :3].T + bev2cam[:3, 3], cam2img)
        ends = lines @ img_aug[:2, :2].T + img_aug[:2, 2]
        seen = np.unique(owners[:, 0])
        own = [ends[owners[:, 0] == box].reshape(-1, 2) for box in seen]
        edges = [np.concatenate([points.min(0), points.max(0)]) for points in own]
        found.append((np.array(edges).reshape(-1, 4), labels[seen]))
    return found
