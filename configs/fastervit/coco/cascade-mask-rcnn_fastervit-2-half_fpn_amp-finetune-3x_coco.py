# Cascade Mask R-CNN with half of the windows of FasterViT-2 skipped, finetuned from the adapted
# weights. The ratios show the recipe; none are published, so search your own.
_base_ = '../_base_/cascade-mask-rcnn_fastervit_fpn_amp-ms-3x_coco.py'

model = dict(
    backbone=dict(arch='2', pruning_ratios=[[0.0], [0.0], [0.5], [0.5]]),
    neck=dict(in_channels=[96, 192, 384, 768]))

load_from = 'work_dirs/cascade-mask-rcnn_fastervit-2_fpn_amp-adaptation-1x_coco/epoch_12.pth'
optim_wrapper = dict(optimizer=dict(lr=1e-5))
