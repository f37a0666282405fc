# Mask R-CNN whose backbone, FPN and RPN skip windows, on scenes of a wide lens: what `make demo` trains.
# Crops of half the sides with scale jitter teach one network every resolution; tests see whole scenes.
_base_ = './mask-rcnn_sparsevit-mini_fpn_adaptation_demo-224x448.py'

data_source = 'the wide demo scenes (python tools/make_demo_data.py --wide)'
data_root = 'data/demo_wide/'
image_size = (896, 448)
crop_size = (224, 448)

model = dict(
    type='sparsevit_mm.SparseHeads', of='MaskRCNN', backbone=dict(importance='contrast'))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomResize', scale=image_size, ratio_range=(0.5, 1.3), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_validation.json')
test_evaluator = val_evaluator

# The first half is dense, the second half has a random schedule each iteration.
max_iters = 640
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=40),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=40, end=max_iters, eta_min=1e-5)
]
custom_hooks = [
    dict(type='sparsevit_mm.WindowPruningHook'),
    dict(type='sparsevit_mm.SparsityAdaptationHook', begin=max_iters // 2)
]
