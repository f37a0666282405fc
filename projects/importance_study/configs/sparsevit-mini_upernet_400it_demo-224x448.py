# The demo's UPerNet on drawn scenes, with scale jitter, so that one network knows every resolution.
_base_ = '../../street_scenes/configs/sparsevit-mini_upernet_adaptation_demo-224x448.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='RandomResize', scale=(448, 224), ratio_range=(0.45, 1.1), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(224, 448)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale_factor=1.0, keep_ratio=True),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
custom_hooks = []
custom_imports = dict(imports=['projects.importance_study.registered'])
optim_wrapper = dict(type='Bfloat16OptimWrapper')
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(interval=200))

max_iters = 400
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_iters
