# FCOS3D with dense Swin-T: the network whose weights SparseViT starts from.
_base_ = '../_base_/fcos3d_swin-t_fpn_8xb2-1x_nus-mono3d.py'
