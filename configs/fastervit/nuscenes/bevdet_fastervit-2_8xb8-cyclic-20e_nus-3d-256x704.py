# BEVDet with FasterViT-2 in Swin's place, its schedule as it is. No figures are published.
_base_ = ['../../sparsevit/_base_/bevdet_swin-t_8xb8-cyclic-20e_nus-3d.py', '../_base_/shared.py']

# Weights of FasterViT's authors, under NVIDIA's non-commercial terms; fetched when training starts.
pretrained = 'https://huggingface.co/ahatamiz/FasterViT/resolve/main/fastervit_2_224_1k.pth.tar'  # noqa: E501

model = dict(
    backbone=dict(
        _base_.dense_backbone,
        arch='2',
        out_indices=(2, 3),
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    neck=dict(in_channels=[384, 768]))
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True, **_base_.no_decay))
