# UPerNet and the published recipe on ADE20K: AdamW, learning rate 6e-5, weight decay 0.01, 160k
# iterations of 16 images.
_base_ = [
    'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py',
    './shared.py'
]

data_source = 'ADE20K (http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip)'

model = dict(
    backbone=_base_.dense_backbone,
    decode_head=dict(in_channels=[64, 128, 256, 512]),
    auxiliary_head=dict(in_channels=256))
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True, **_base_.no_decay))
