# The network of the study and CamVid, laid out as ADE20K: images/ and annotations/ with
# training, validation and test, PNG labels of class + 1 and 0 for unlabeled pixels.
_base_ = ['mmseg::_base_/models/upernet_swin.py', 'mmseg::_base_/default_runtime.py']

data_source = 'CamVid (CC BY-NC 4.0), 480x360, 11 classes, in the folders of ADE20K'
data_root = 'data/camvid/'
# Label 0 stays a class, ignored by loss and metric: a loss with weights for classes takes no label
# that is none of them.
classes = (
    'unlabeled', 'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car',
    'pedestrian', 'bicyclist')
palette = [
    (0, 0, 0), (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222),
    (128, 128, 0), (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)]

# Colors stay as they are: in so few iterations, distorting them only slows learning down.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=(480, 360)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(480, 360)),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
dataset = dict(
    type='BaseSegDataset',
    metainfo=dict(classes=classes, palette=palette),
    data_root=data_root)
train_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        pipeline=train_pipeline,
        **dataset))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline,
        **dataset))
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        data_prefix=dict(img_path='images/test', seg_map_path='annotations/test'),
        pipeline=test_pipeline,
        **dataset))
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'], ignore_index=0)
test_evaluator = val_evaluator

# Statistics of a batch would be those of one schedule in each iteration of the adaptation.
norm_cfg = dict(type='GN', num_groups=8)
model = dict(
    data_preprocessor=dict(size=(360, 480), seg_pad_val=0),
    # Windows of 5 tokens fill frames of 480x360 without padding in the first two stages.
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        embed_dims=24,
        depths=(2, 2, 6, 2),
        num_heads=(1, 2, 4, 8),
        window_size=5,
        drop_path_rate=0.0),
    decode_head=dict(
        in_channels=[24, 48, 96, 192],
        channels=16,
        dropout_ratio=0.0,
        num_classes=len(classes),
        norm_cfg=norm_cfg,
        ignore_index=0,
        # Median frequency balancing over the training labels, to the power of 3/4: small objects are
        # learned early, and large ones not given up for them.
        loss_decode=dict(class_weight=[
            0.0, 0.37, 0.29, 3.13, 0.23, 1.0, 0.56, 2.74, 2.83, 0.81, 4.31, 7.76
        ])),
    auxiliary_head=None)

val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys=dict(relative_position_bias_table=dict(decay_mult=0.0))),
    clip_grad=dict(max_norm=1.0))
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=100, max_keep_ckpts=1),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'))
randomness = dict(seed=0)
