_base_ = '../_base_/fastervit_8xb128-300e_in1k.py'

# Weights of FasterViT's authors, under NVIDIA's non-commercial terms. To test them:
#   python tools/test.py THIS_CONFIG FILE
released = 'https://huggingface.co/ahatamiz/FasterViT/resolve/main/fastervit_4_21k_384_w24.pth.tar'  # noqa: E501

model = dict(backbone=dict(arch='4-21k-384'), in_channels=1568)

# Crops of 384 pixels.
train_pipeline = _base_.train_pipeline
train_pipeline[1].size = 384
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (100000, 384)
test_pipeline[2].crop_size = (384, 384)
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=32, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
