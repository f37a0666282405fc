_base_ = '../_base_/dino-4scale_fastervit_8xb2-12e_coco.py'

# Weights of FasterViT's authors, under NVIDIA's non-commercial terms; fetched when training starts.
pretrained = 'https://huggingface.co/ahatamiz/FasterViT/resolve/main/fastervit_3_224_1k.pth.tar'  # noqa: E501

model = dict(
    backbone=dict(arch='3', init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    neck=dict(in_channels=[256, 512, 1024]))
