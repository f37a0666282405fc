# DINO with FasterViT: MMDetection's recipe, which is the published one (AdamW, learning rate 1e-4,
# backbone 1e-5, weight decay 1e-4, clipping at 0.1, 8 GPUs x 2 images). Maps of strides 8 to 32
# and one more.
_base_ = ['mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py', './shared.py']

data_source = 'COCO 2017 (https://cocodataset.org/#download: train2017, val2017, annotations)'

model = dict(
    backbone=dict(out_indices=(1, 2, 3), with_cp=True, **_base_.dense_backbone),
    neck=dict(in_channels=[128, 256, 512]))
