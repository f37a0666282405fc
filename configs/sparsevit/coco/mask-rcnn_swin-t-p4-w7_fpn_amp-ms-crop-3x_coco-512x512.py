# Swin-T R512 of table 2. The weights are those of the 672x672 baseline.
_base_ = '../_base_/mask-rcnn_swin-t_fpn_amp-ms-crop-3x_coco-672x672.py'

test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (512, 512)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
