# The network for aerial_cars on photographs of COCO: persons alone, for a few hundred photographs
# do not teach eighty classes.
_base_ = './retinanet_sparsevit-micro_fpn_400it_aerial-cars.py'

data_source = 'coco_mini, in the folder that SPARSEVIT_MM_DATA names'
data_root = 'data/coco_mini/'
frames = dict(data_root=data_root, metainfo=dict(classes=('person', )))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    # The height decides: photographs are as wide as that makes them.
    dict(type='RandomResize', scale=[(100000, 200), (100000, 500)], keep_ratio=True),
    dict(type='RandomCrop', crop_size=(384, 384), allow_negative_crop=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')
]
train_dataloader = dict(
    dataset=dict(
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        pipeline=train_pipeline,
        **frames))
val_dataloader = dict(
    dataset=dict(
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        **frames))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator
