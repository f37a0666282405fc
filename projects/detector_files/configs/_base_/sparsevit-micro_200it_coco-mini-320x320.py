# What the three detectors share: the first photographs of coco_mini that have a person, learned by
# heart. Files are compared with the models on the same photographs, so that average precision is
# not near 0; it says nothing about photographs that were not learned.
_base_ = ['mmdet::_base_/default_runtime.py']

data_source = 'coco_mini, in the folder that SPARSEVIT_MM_DATA names'
data_root = 'data/coco_mini/'

meta_keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(320, 320), keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(320, 320), keep_ratio=False),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=meta_keys),
]
dataset = dict(
    type='CocoDataset',
    data_root=data_root,
    ann_file='annotations/instances_val2017.json',
    data_prefix=dict(img='val2017/'),
    metainfo=dict(classes=('person', )),
    filter_cfg=dict(filter_empty_gt=True, min_size=32),
    indices=16)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline, **dataset))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pipeline=test_pipeline, **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', metric='bbox')
test_evaluator = val_evaluator
train_cfg = dict(type='IterBasedTrainLoop', max_iters=200, val_interval=200)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01),
    clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=20),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=20, end=200, eta_min=1e-5),
]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=20),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=200))
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
# Schedules between dense and 'cfg2' all along, so that one network serves both.
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook', seed=0)]

backbone = dict(
    _delete_=True,
    type='sparsevit_mm.SparseViT',
    embed_dims=24,
    depths=(2, 2, 6, 2),
    num_heads=(1, 2, 4, 8),
    pruning_ratios=[[0.6], [0.0], [0.2, 0.4, 0.5], [0.0]],
    drop_path_rate=0.0)
channels = 48
