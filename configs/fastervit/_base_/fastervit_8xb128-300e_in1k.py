# ImageNet-1K for 300 epochs of 1024 images, as FasterViT's authors train; what else their recipe has
# is not known here, so the rest is Swin's without its mixing of images: AdamW, learning rate 1e-3,
# weight decay 0.05, 20 epochs of warm-up, cosine, label smoothing, averaged weights.
_base_ = './shared.py'

data_source = (
    'ImageNet-1K (https://image-net.org/download.php), one folder for each class under train and val')
default_scope = 'mmengine'

model = dict(
    type='sparsevit_mm.ImageClassifier',
    backbone=dict(type='sparsevit_mm.FasterViT', arch='0', out_indices=(3, )),
    in_channels=512,
    num_classes=1000,
    label_smoothing=0.1)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='sparsevit_mm.RandomResizedCrop', size=224),
    dict(type='RandomFlip', prob=0.5),
    dict(type='sparsevit_mm.PackImage')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(100000, 256), keep_ratio=True, interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=(224, 224)),
    dict(type='sparsevit_mm.PackImage')
]

train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='sparsevit_mm.ImageFolder',
        data_root='data/imagenet/',
        data_prefix=dict(img='train'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='sparsevit_mm.ImageFolder',
        data_root='data/imagenet/',
        data_prefix=dict(img='val'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='sparsevit_mm.TopKAccuracy', topk=(1, 5))
test_evaluator = val_evaluator

max_epochs = 300
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=_base_.no_decay,
    clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=20,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', by_epoch=True, begin=20, end=max_epochs, eta_min=1e-5,
        convert_to_iter_based=True)
]
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', interval=10, max_keep_ckpts=2),
    logger=dict(type='LoggerHook', interval=100))
custom_hooks = [dict(type='EMAHook', momentum=2e-4, priority='ABOVE_NORMAL')]
auto_scale_lr = dict(enable=False, base_batch_size=1024)
