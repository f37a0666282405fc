# Mask R-CNN and the published recipe on COCO: AdamW, learning rate 1e-4, weight decay 0.05,
# 36 epochs of 16 images. Warm-up, mixed precision and what does not decay are as usual in the field.
_base_ = ['mmdet::mask_rcnn/mask-rcnn_r50_fpn_ms-poly-3x_coco.py', './shared.py']

data_source = 'COCO 2017 (https://cocodataset.org/#download: train2017, val2017, annotations)'

model = dict(backbone=_base_.dense_backbone, neck=dict(in_channels=[64, 128, 256, 512]))

val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
optim_wrapper = _base_.coco_optim_wrapper
