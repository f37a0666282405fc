# UPerNet with dense Swin-T at 1024x1024: the network SparseViT starts from at this size.
_base_ = '../_base_/swin-t_upernet_8xb2-160k_ade20k-1024x1024.py'
