"""Data for 3D detection: KITTI's infos without LiDAR files, classes drawn equally often."""

from sparsevit_mm.datasets3d.class_balanced import ClassBalancedFrames

__all__ = ['ClassBalancedFrames']
