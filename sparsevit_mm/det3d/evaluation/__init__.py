"""Scores of 3D detections that need no nuScenes tables and no CUDA."""

from sparsevit_mm.det3d.evaluation.kitti_metric import KittiAPMetric
from sparsevit_mm.det3d.evaluation.nuscenes_metric import CentreDistanceMetric

__all__ = ['CentreDistanceMetric', 'KittiAPMetric']
