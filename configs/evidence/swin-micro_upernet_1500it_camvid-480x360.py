# The dense network of the evidence on CamVid, from scratch on crops between half and one and a
# quarter of the frames' size: one network for all resolutions that every other one starts from.
_base_ = [
    'mmseg::_base_/models/upernet_swin.py', 'mmseg::_base_/default_runtime.py',
    './_base_/camvid.py'
]

# Statistics of a batch would be those of one schedule in each iteration of the adaptation.
norm_cfg = dict(type='GN', num_groups=8)
model = dict(
    data_preprocessor=dict(size=(180, 240), seg_pad_val=0),
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
        num_classes=len(_base_.classes),
        norm_cfg=norm_cfg,
        ignore_index=0,
        # Square roots of median frequency balancing over the training labels.
        loss_decode=dict(class_weight=[
            0.0, 0.52, 0.44, 2.14, 0.38, 1.0, 0.68, 1.96, 2.0, 0.87, 2.65, 3.92
        ])),
    auxiliary_head=None)

train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(
                type='RandomResize',
                scale=(480, 360),
                ratio_range=(0.5, 1.25),
                keep_ratio=True),
            dict(type='RandomCrop', crop_size=(180, 240), cat_max_ratio=0.75, ignore_index=0),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
            dict(type='PackSegInputs'),
        ]))

max_iters = 1500
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys=dict(relative_position_bias_table=dict(decay_mult=0.0))),
    clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=max_iters, eta_min=1e-5)
]
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=100, max_keep_ckpts=1),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'))
randomness = dict(seed=0)
