# BEVDet with dense Swin-T, the first row of table 1: 140.6 G MACs for six cameras (counted; 140.8 G
# printed). SparseViT's 256x704 rows start from its weights.
_base_ = '../_base_/bevdet_swin-t_8xb8-cyclic-20e_nus-3d.py'
