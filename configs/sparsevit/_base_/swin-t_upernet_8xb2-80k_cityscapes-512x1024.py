# UPerNet with Swin-T on Cityscapes: crops of 512x1024, tested on whole images of 1024x2048. The model
# and the optimizer are those of MMSegmentation's Swin on ADE20K, the schedule is its usual one for
# Cityscapes (80k iterations of 8 GPUs x 2 images).
_base_ = [
    'mmseg::_base_/models/upernet_swin.py', 'mmseg::_base_/datasets/cityscapes.py',
    'mmseg::_base_/default_runtime.py', 'mmseg::_base_/schedules/schedule_80k.py'
]

# What the tools say when data/cityscapes is missing.
data_source = 'Cityscapes (https://www.cityscapes-dataset.com: leftImg8bit and gtFine, with labelTrainIds)'
pretrained = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/swin_tiny_patch4_window7_224_20220317-1cdeb081.pth'  # noqa: E501

model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=pretrained)))

max_iters = 80000
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(
            absolute_pos_embed=dict(decay_mult=0.0),
            relative_position_bias_table=dict(decay_mult=0.0),
            norm=dict(decay_mult=0.0))))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, begin=1500, end=max_iters, by_epoch=False)
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
