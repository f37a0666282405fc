"""Scores of 3D detections that need no nuScenes tables and no CUDA."""

from sparsevit_mm.evaluation3d.centre_distance_metric import CentreDistanceMetric
from sparsevit_mm.evaluation3d.kitti_metric import KittiAPMetric

__all__ = ['CentreDistanceMetric', 'KittiAPMetric']
