_base_ = '../_base_/dino-5scale_fastervit_8xb2-12e_coco.py'

# Weights of FasterViT's authors, under NVIDIA's non-commercial terms; fetched when training starts.
pretrained = 'https://huggingface.co/ahatamiz/FasterViT/resolve/main/fastervit_4_224_1k.pth.tar'  # noqa: E501

model = dict(
    backbone=dict(arch='4', init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    neck=dict(in_channels=[196, 392, 784, 1568]))

train_cfg = dict(max_epochs=36)
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=36, by_epoch=True, milestones=[30], gamma=0.1)]
