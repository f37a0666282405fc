_base_ = '../_base_/smoke_fastervit_topdown_4xb8-6x_kitti-mono3d.py'

# Weights of FasterViT's authors, under NVIDIA's non-commercial terms; fetched when training starts.
pretrained = 'https://huggingface.co/ahatamiz/FasterViT/resolve/main/fastervit_0_224_1k.pth.tar'  # noqa: E501

model = dict(
    backbone=dict(arch='0', init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    neck=dict(in_channels=[64, 128, 256, 512]))
