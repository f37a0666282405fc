# The dense network of the study on CamVid, from scratch on crops between half and one and a
# quarter of the frames' size: one network for all resolutions that every other one starts from.
_base_ = './_base_/upernet_micro_camvid.py'

model = dict(data_preprocessor=dict(size=(180, 240)))
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
            dict(type='PackSegInputs'),
        ]))

max_iters = 2000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=max_iters, eta_min=1e-5)
]
