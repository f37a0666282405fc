# BEVDet with half of the windows of FasterViT-0 skipped, finetuned from the adapted weights; the six
# cameras of a frame share its windows. The ratios show the recipe; none are published, so search your
# own.
_base_ = ['../../sparsevit/_base_/bevdet_swin-t_8xb8-cyclic-20e_nus-3d.py', '../_base_/shared.py']

model = dict(
    backbone=dict(
        _base_.dense_backbone,
        arch='0',
        out_indices=(2, 3),
        pruning_ratios=[[0.0], [0.0], [0.5], [0.5]],
        allocation=dict(type='batch', group_size=6)),
    neck=dict(in_channels=[256, 512]))

load_from = 'work_dirs/bevdet_fastervit-0_8xb8-adaptation-20e_nus-3d-256x704/epoch_20.pth'
optim_wrapper = dict(
    optimizer=dict(lr=2e-5), paramwise_cfg=dict(_delete_=True, **_base_.no_decay))
