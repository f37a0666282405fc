# SMOKE with dense Swin-T: the network whose weights SparseViT starts from.
_base_ = '../_base_/smoke_swin-t_topdown_4xb8-6x_kitti-mono3d.py'
