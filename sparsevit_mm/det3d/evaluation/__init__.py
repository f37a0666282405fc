"""Metrics of 3D detection: nuScenes' scores without its tables, KITTI's without CUDA."""

from sparsevit_mm.det3d.evaluation.kitti_metric import KittiAPMetric
from sparsevit_mm.det3d.evaluation.nuscenes_metric import NuScenesDetectionMetric

__all__ = ['KittiAPMetric', 'NuScenesDetectionMetric']
