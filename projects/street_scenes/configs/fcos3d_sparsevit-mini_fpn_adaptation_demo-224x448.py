# FCOS3D with a SparseViT small enough to train from scratch on a CPU in minutes, on the 3D boxes of
# the scenes that tools/make_demo_data.py draws.
_base_ = [
    'mmdet3d::_base_/models/fcos3d.py', 'mmdet3d::_base_/default_runtime.py',
    './_base_/adaptation_800it.py'
]

# What the tools say when data/demo is missing.
data_source = 'the demo scenes (python tools/make_demo_data.py)'

image_size = (448, 224)
channels = 64
classes = ('car', 'pedestrian')

# Finer levels and smaller objects than in nuScenes' images, and no deformable convolutions, which
# are slow on a CPU.
model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        embed_dims=32,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8),
        drop_path_rate=0.0),
    neck=dict(
        in_channels=[32, 64, 128, 256],
        out_channels=channels,
        start_level=0,
        add_extra_convs=False,
        num_outs=4),
    bbox_head=dict(
        num_classes=len(classes),
        in_channels=channels,
        feat_channels=channels,
        strides=[4, 8, 16, 32],
        regress_ranges=((-1, 24), (24, 48), (48, 96), (96, 1e8)),
        cls_branch=(channels, ),
        reg_branch=((channels, ), (channels, ), (channels, ), (channels, ), ()),
        dir_branch=(channels, ),
        attr_branch=(channels, ),
        loss_cls=dict(loss_weight=2.0),
        dcn_on_last_conv=False),
    # Things stand still here, and in 800 iterations classes and places matter most.
    train_cfg=dict(code_weight=[0.3, 0.3, 0.05, 0.2, 0.2, 0.2, 0.2, 0.0, 0.0]),
    test_cfg=dict(nms_pre=300, max_per_img=50))

data_root = 'data/demo/'
metainfo = dict(classes=classes)
train_pipeline = [
    dict(type='LoadImageFromFileMono3D'),
    dict(
        type='LoadAnnotations3D',
        with_bbox=True,
        with_label=True,
        with_attr_label=True,
        with_bbox_3d=True,
        with_label_3d=True,
        with_bbox_depth=True),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='RandomFlip3D', flip_ratio_bev_horizontal=0.5),
    dict(
        type='Pack3DDetInputs',
        keys=[
            'img', 'gt_bboxes', 'gt_bboxes_labels', 'attr_labels', 'gt_bboxes_3d', 'gt_labels_3d',
            'centers_2d', 'depths'
        ])
]
test_pipeline = [
    dict(type='LoadImageFromFileMono3D'),
    dict(type='mmdet.Resize', scale=image_size, keep_ratio=True),
    dict(type='Pack3DDetInputs', keys=['img'])
]
frames = dict(
    type='NuScenesDataset',
    data_root=data_root,
    load_type='mv_image_based',
    box_type_3d='Camera',
    use_valid_flag=True,
    modality=dict(use_camera=True, use_lidar=False),
    metainfo=metainfo)
train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        ann_file='annotations/nuscenes_infos_training.json',
        data_prefix=dict(CAM_FRONT='images/training'),
        pipeline=train_pipeline,
        **frames))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='annotations/nuscenes_infos_validation.json',
        data_prefix=dict(CAM_FRONT='images/validation'),
        pipeline=test_pipeline,
        test_mode=True,
        **frames))
test_dataloader = val_dataloader
# nuScenes' definition of average precision; its own evaluation needs its tables.
val_evaluator = dict(
    type='sparsevit_mm.NuScenesDetectionMetric',
    ann_file=data_root + 'annotations/nuscenes_infos_validation.json',
    load_type='mv_image_based')
test_evaluator = val_evaluator
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='Det3DLocalVisualizer', vis_backends=vis_backends, name='visualizer')

default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(by_epoch=False, interval=50, max_keep_ckpts=2))
log_processor = dict(by_epoch=False)
