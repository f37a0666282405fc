# What every COCO row shares: MMDetection's Mask R-CNN with Swin-T and its 3x recipe (36 epochs,
# steps 27 and 33, 1000 warm-up iterations, AdamW, AMP, sides of 480 to 800 pixels with crops,
# 8 GPUs x 2 images), tested at a fixed size. A row changes the test size, the backbone or the
# learning rate, and nothing else.
_base_ = 'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'

# What the tools say when data/coco is missing.
data_source = 'COCO 2017 (https://cocodataset.org/#download: train2017, val2017, annotations)'

test_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='Resize', scale=(672, 672), keep_ratio=False),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
