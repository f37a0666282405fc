_base_ = '../_base_/fastervit_8xb128-300e_in1k.py'

# Weights of FasterViT's authors, under NVIDIA's non-commercial terms. To test them:
#   python tools/test.py THIS_CONFIG FILE
released = 'https://huggingface.co/ahatamiz/FasterViT/resolve/main/fastervit_5_224_1k.pth.tar'  # noqa: E501

model = dict(backbone=dict(arch='5'), in_channels=2560)
