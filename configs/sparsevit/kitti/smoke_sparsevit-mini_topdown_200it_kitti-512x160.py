# SMOKE with a SparseViT small enough to train from scratch on a CPU in minutes, on KITTI's images at
# half their size. A few dozen frames are enough to see it learn; good boxes need all of KITTI.
_base_ = '../_base_/smoke_swin-t_topdown_4xb8-6x_kitti-mono3d.py'

image_size = (512, 160)
max_iters = 200
channels = 64

model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        embed_dims=32,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8),
        drop_path_rate=0.0),
    neck=dict(in_channels=[32, 64, 128, 256]),
    bbox_head=dict(cls_branch=(channels, ), reg_branch=((channels, ), )))

train_pipeline = _base_.train_pipeline
train_pipeline[4].img_scale = image_size
test_pipeline = _base_.test_pipeline
test_pipeline[1].img_scale = image_size
train_dataloader = dict(
    batch_size=3,
    num_workers=1,
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=20, end=max_iters, eta_min=1e-5)
]
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(by_epoch=False, interval=100, max_keep_ckpts=2))
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
