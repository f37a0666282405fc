# PGD with dense Swin-T: the network whose weights SparseViT starts from.
_base_ = '../_base_/pgd_swin-t_fpn_8xb2-1x_nus-mono3d.py'
