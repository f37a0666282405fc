_base_ = '../_base_/fastervit_upernet_8xb2-160k_ade20k-512x512.py'

# Weights of FasterViT's authors, under NVIDIA's non-commercial terms; fetched when training starts.
pretrained = 'https://huggingface.co/ahatamiz/FasterViT/resolve/main/fastervit_0_224_1k.pth.tar'  # noqa: E501

model = dict(
    backbone=dict(arch='0', init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    decode_head=dict(in_channels=[64, 128, 256, 512]),
    auxiliary_head=dict(in_channels=256))
