# Swin-T W0.6 of table 1: embedding size 60, heads 3, 6, 12, 24; 55.9 G MACs for six cameras (counted;
# 56.0 G printed). No ImageNet weights of this width were released, so training starts from scratch
# unless init_cfg of the backbone names a file of yours.
_base_ = '../_base_/bevdet_swin-t_8xb8-cyclic-20e_nus-3d.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        arch='tiny',
        width=0.6,
        out_indices=(2, 3),
        drop_path_rate=0.0,
        with_cp=True),
    neck=dict(in_channels=[240, 480]))
