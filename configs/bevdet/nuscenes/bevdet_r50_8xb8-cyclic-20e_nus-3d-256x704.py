# BEVDet-R50 as its authors first released it: ResNet-50 with a pyramid of one level. Its own
# schedule could not be read; this is BEVDet-Tiny's.
_base_ = '../../sparsevit/_base_/bevdet_swin-t_8xb8-cyclic-20e_nus-3d.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmdet.ResNet',
        depth=50,
        out_indices=(2, 3),
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    neck=dict(type='sparsevit_mm.OneLevelFPN', in_channels=[1024, 2048]))
