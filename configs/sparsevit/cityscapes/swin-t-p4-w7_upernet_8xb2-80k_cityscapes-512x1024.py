# UPerNet with dense Swin-T: the network SparseViT starts from.
_base_ = '../_base_/swin-t_upernet_8xb2-80k_cityscapes-512x1024.py'
