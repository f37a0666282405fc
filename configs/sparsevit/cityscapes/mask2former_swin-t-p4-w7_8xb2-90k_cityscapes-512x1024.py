# Mask2Former with dense Swin-T, as MMSegmentation trains it: the network SparseViT starts from.
_base_ = '../_base_/mask2former_swin-t_8xb2-90k_cityscapes-512x1024.py'
