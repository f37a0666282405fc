# What every row of table 1 shares: BEVDet-Tiny as its authors released it, on the six cameras of
# nuScenes (20 epochs of class-balanced frames, AdamW, a rate that rises five-fold over 40% of the time
# and falls to nothing, 8 GPUs x 8 frames). A row changes the size of the images, the image backbone or
# the learning rate, and nothing else. Swin's norms and position tables do not decay, as usual.
_base_ = 'mmdet3d::_base_/default_runtime.py'
custom_imports = dict(imports=['sparsevit_mm.det3d.bevdet'], allow_failed_imports=False)

# What the tools say when data/nuscenes is missing.
data_source = (
    'nuScenes (https://www.nuscenes.org/nuscenes#download: the trainval split, with the info files that '
    "MMDetection3D's tools/create_data.py writes)")
pretrained = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_tiny_patch4_window7_224.pth'  # noqa: E501

class_names = [
    'car', 'truck', 'construction_vehicle', 'bus', 'trailer', 'barrier', 'motorcycle', 'bicycle',
    'pedestrian', 'traffic_cone'
]
reach = 51.2  # meters to every side
cell = 0.8
factor = 8  # cells of the map are this many of the head's voxels
voxel_size = [cell / factor, cell / factor, 0.2]
grid = dict(x=(-reach, reach, cell), y=(-reach, reach, cell), z=(-10.0, 10.0, 20.0))
point_cloud_range = [-reach, -reach, -10.0, reach, reach, 10.0]

model = dict(
    type='sparsevit_mm.BEVDet',
    data_preprocessor=dict(
        type='Det3DDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    backbone=dict(
        type='mmdet.SwinTransformer',
        out_indices=(2, 3),
        drop_path_rate=0.0,
        with_cp=True,
        convert_weights=True,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    neck=dict(type='sparsevit_mm.FPNLSS', in_channels=[384, 768], out_channels=512),
    view_transform=dict(
        type='sparsevit_mm.LiftSplat',
        in_channels=512,
        out_channels=64,
        grid=grid,
        depth=(1, 60, 1)),
    bev_backbone=dict(type='sparsevit_mm.BEVResNet', in_channels=64),
    bev_neck=dict(
        type='sparsevit_mm.FPNLSS',
        in_channels=[128, 512],
        in_indices=(0, 2),
        out_channels=256,
        upsample=2),
    bbox_head=dict(
        type='sparsevit_mm.BEVDetHead',
        in_channels=256,
        tasks=[
            dict(num_class=1, class_names=['car']),
            dict(num_class=2, class_names=['truck', 'construction_vehicle']),
            dict(num_class=2, class_names=['bus', 'trailer']),
            dict(num_class=1, class_names=['barrier']),
            dict(num_class=2, class_names=['motorcycle', 'bicycle']),
            dict(num_class=2, class_names=['pedestrian', 'traffic_cone'])
        ],
        common_heads=dict(reg=(2, 2), height=(1, 2), dim=(3, 2), rot=(2, 2), vel=(2, 2)),
        share_conv_channel=64,
        bbox_coder=dict(
            type='CenterPointBBoxCoder',
            pc_range=point_cloud_range[:2],
            post_center_range=[-61.2, -61.2, -10.0, 61.2, 61.2, 10.0],
            max_num=500,
            score_threshold=0.1,
            out_size_factor=factor,
            voxel_size=voxel_size[:2],
            code_size=9),
        separate_head=dict(type='SeparateHead', init_bias=-2.19, final_kernel=3),
        loss_cls=dict(type='mmdet.GaussianFocalLoss', reduction='mean'),
        loss_bbox=dict(type='mmdet.L1Loss', reduction='mean', loss_weight=0.25),
        norm_bbox=True),
    train_cfg=dict(
        point_cloud_range=point_cloud_range,
        grid_size=[1024, 1024, 40],
        voxel_size=voxel_size,
        out_size_factor=factor,
        dense_reg=1,
        gaussian_overlap=0.1,
        max_objs=500,
        min_radius=2,
        code_weights=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2]),
    # Tasks are suppressed each in its way; sizes are scaled for it (scale-NMS).
    test_cfg=dict(
        nms_type=['rotate', 'rotate', 'rotate', 'circle', 'rotate', 'rotate'],
        nms_thr=[0.2, 0.2, 0.2, 0.2, 0.2, 0.5],
        nms_rescale_factor=[[1.0], [0.7, 0.7], [0.4, 0.55], [1.1], [1.0, 1.0], [4.5, 9.0]],
        min_radius=[4, 12, 10, 1, 0.85, 0.175],
        pre_max_size=1000,
        post_max_size=83))

data_root = 'data/nuscenes/'
metainfo = dict(classes=class_names)
modality = dict(use_camera=True, use_lidar=False)
data_prefix = dict(
    CAM_FRONT_LEFT='samples/CAM_FRONT_LEFT',
    CAM_FRONT='samples/CAM_FRONT',
    CAM_FRONT_RIGHT='samples/CAM_FRONT_RIGHT',
    CAM_BACK_LEFT='samples/CAM_BACK_LEFT',
    CAM_BACK='samples/CAM_BACK',
    CAM_BACK_RIGHT='samples/CAM_BACK_RIGHT')
size = (256, 704)
meta_keys = (
    'sample_idx', 'img_path', 'ori_shape', 'img_shape', 'box_type_3d', 'box_mode_3d', 'lidar2cam',
    'cam2img', 'cam2bev', 'lidar2bev', 'img_aug', 'bev_aug')
train_pipeline = [
    dict(type='sparsevit_mm.LoadCameraImages'),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='sparsevit_mm.CameraAugmentation', size=size, training=True),
    dict(type='sparsevit_mm.BEVAugmentation'),
    dict(type='ObjectRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ObjectNameFilter', classes=class_names),
    dict(
        type='Pack3DDetInputs',
        keys=['img', 'gt_bboxes_3d', 'gt_labels_3d'],
        meta_keys=meta_keys)
]
test_pipeline = [
    dict(type='sparsevit_mm.LoadCameraImages'),
    dict(
        type='sparsevit_mm.CameraAugmentation',
        size=size,
        training=False,
        test_scale_jitter=0.04),
    dict(type='Pack3DDetInputs', keys=['img'], meta_keys=meta_keys)
]
frames = dict(
    type='NuScenesDataset',
    data_root=data_root,
    data_prefix=data_prefix,
    metainfo=metainfo,
    modality=modality,
    box_type_3d='LiDAR',
    use_valid_flag=True)
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='sparsevit_mm.ClassBalancedFrames',
        dataset=dict(ann_file='nuscenes_infos_train.pkl', pipeline=train_pipeline, **frames)))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='nuscenes_infos_val.pkl', pipeline=test_pipeline, test_mode=True, **frames))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='NuScenesMetric',
    data_root=data_root,
    ann_file=data_root + 'nuscenes_infos_val.pkl',
    metric='bbox',
    modality=modality)
test_evaluator = val_evaluator
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='Det3DLocalVisualizer', vis_backends=vis_backends, name='visualizer')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(
            absolute_pos_embed=dict(decay_mult=0.0),
            relative_position_bias_table=dict(decay_mult=0.0),
            norm=dict(decay_mult=0.0))),
    clip_grad=dict(max_norm=35, norm_type=2))
# As shares of the learning rate, so that a row need only change the rate.
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        T_max=8,
        eta_min_ratio=5,
        begin=0,
        end=8,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=12,
        eta_min_ratio=1e-4,
        begin=8,
        end=20,
        by_epoch=True,
        convert_to_iter_based=True)
]
train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=20)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=64)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=2))
