# Swin-T W0.8 of table 2: embedding size 72, heads 3, 6, 12, 24. No ImageNet weights of this width were
# released, so training starts from scratch unless init_cfg of the backbone names a file of yours.
_base_ = '../_base_/mask-rcnn_swin-t_fpn_amp-ms-crop-3x_coco-672x672.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        arch='tiny',
        width=0.8,
        drop_path_rate=0.2),
    neck=dict(in_channels=[72, 144, 288, 576]))

test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (640, 640)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
