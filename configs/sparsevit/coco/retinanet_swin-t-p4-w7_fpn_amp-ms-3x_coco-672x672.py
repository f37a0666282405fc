# RetinaNet with dense Swin-T: the network whose weights SparseViT starts from.
_base_ = '../_base_/retinanet_swin-t_fpn_amp-ms-3x_coco-672x672.py'
