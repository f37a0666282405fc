# MMDetection's RetinaNet and its 3x schedule (12 epochs of the data set three times, sides of 640 to
# 800 pixels, 8 GPUs x 2 images) with Swin-T and Swin's optimizer instead of SGD, tested at the size
# of the Mask R-CNN rows. The neck reads stages 1 to 3; stage 0 has no output that nothing would use.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_ms-640-800-3x_coco.py'

# What the tools say when data/coco is missing.
data_source = 'COCO 2017 (https://cocodataset.org/#download: train2017, val2017, annotations)'
pretrained = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_tiny_patch4_window7_224.pth'  # noqa: E501

model = dict(
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        out_indices=(1, 2, 3),
        drop_path_rate=0.2,
        convert_weights=True,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    neck=dict(in_channels=[192, 384, 768], start_level=0))

test_pipeline = _base_.test_pipeline
test_pipeline[1].update(scale=(672, 672), keep_ratio=False)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# Focal loss on every anchor: gradients are clipped, as is usual for one-stage heads with AdamW.
optim_wrapper = dict(
    _delete_=True,
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(
        custom_keys=dict(
            absolute_pos_embed=dict(decay_mult=0.0),
            relative_position_bias_table=dict(decay_mult=0.0),
            norm=dict(decay_mult=0.0))))
