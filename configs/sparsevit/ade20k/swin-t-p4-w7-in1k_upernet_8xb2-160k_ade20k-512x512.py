# UPerNet with dense Swin-T, as MMSegmentation trains it: the network SparseViT starts from.
_base_ = '../_base_/swin-t_upernet_8xb2-160k_ade20k-512x512.py'
