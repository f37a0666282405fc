# BEVDet with a SparseViT small enough to train from scratch on a CPU in minutes, on streets that six
# cameras see (tools/make_demo_data.py --six-cameras). The second half of the training draws a random
# pruning schedule in each iteration, so that one network serves every schedule. Stages are as deep as
# in Swin-T, so that its schedules fit, and windows are small, so that there are about as many to choose
# from.
_base_ = '../../../configs/sparsevit/_base_/bevdet_swin-t_8xb8-cyclic-20e_nus-3d.py'

# What the tools say when data/demo_six_cameras is missing.
data_source = 'the six-camera demo (python tools/make_demo_data.py --six-cameras)'

classes = ['car', 'pedestrian']
size = (112, 336)
max_iters = 400

# A map of 64 x 64 cells, 25.6 m to every side; image features are of stride 8.
reach, cell, factor = 25.6, 0.8, 8
voxel_size = [cell / factor, cell / factor, 0.2]
grid = dict(x=(-reach, reach, cell), y=(-reach, reach, cell), z=(-10.0, 10.0, 20.0))
point_cloud_range = [-reach, -reach, -10.0, reach, reach, 10.0]

model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        embed_dims=16,
        depths=(2, 2, 6, 2),
        num_heads=(1, 2, 4, 8),
        window_size=4,
        out_indices=(1, 3),
        drop_path_rate=0.0),
    neck=dict(in_channels=[32, 128], out_channels=32),
    view_transform=dict(in_channels=32, out_channels=24, grid=grid, depth=(1, 41, 1)),
    bev_backbone=dict(in_channels=24),
    bev_neck=dict(in_channels=[48, 192], out_channels=32),
    bbox_head=dict(
        in_channels=32,
        tasks=[dict(num_class=1, class_names=[name]) for name in classes],
        share_conv_channel=32,
        bbox_coder=dict(
            pc_range=point_cloud_range[:2],
            post_center_range=[-35.0, -35.0, -10.0, 35.0, 35.0, 10.0],
            max_num=100,
            score_threshold=0.05,
            voxel_size=voxel_size[:2]),
        # Few cells of the map hold anything: the usual bias takes long to learn that.
        separate_head=dict(head_conv=32, init_bias=-4.0)),
    train_cfg=dict(
        point_cloud_range=point_cloud_range,
        grid_size=[512, 512, 40],
        voxel_size=voxel_size,
        max_objs=100),
    test_cfg=dict(
        nms_type='rotate',
        nms_thr=0.2,
        nms_rescale_factor=[[1.0], [4.5]],
        min_radius=None,
        post_max_size=100))

# Streets run ahead in every frame, and in so few iterations it helps to see them so: the map is neither
# turned nor flipped, and images change less than on nuScenes.
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].update(size=size, scale_jitter=(-0.02, 0.06), flip_prob=0.0, max_degrees=0.0)
train_pipeline[3].update(max_degrees=0.0, scale=(1.0, 1.0), flip_x_prob=0.0, flip_y_prob=0.0)
train_pipeline[4].point_cloud_range = point_cloud_range
train_pipeline[5].classes = classes
test_pipeline[1].update(size=size, test_scale_jitter=0.0)
data_root = 'data/demo_six_cameras/'
frames = dict(data_root=data_root, metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    dataset=dict(
        dataset=dict(
            ann_file='annotations/nuscenes_infos_training.json',
            pipeline=train_pipeline,
            **frames)))
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        ann_file='annotations/nuscenes_infos_validation.json', pipeline=test_pipeline, **frames))
test_dataloader = val_dataloader
# nuScenes' definition of average precision, as far as the map reaches; nuScenes' own evaluation needs
# its tables.
val_evaluator = dict(
    _delete_=True,
    type='sparsevit_mm.NuScenesDetectionMetric',
    ann_file=data_root + 'annotations/nuscenes_infos_validation.json',
    class_range=dict(car=24.0, pedestrian=24.0))
test_evaluator = val_evaluator

train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=2e-3), clip_grad=dict(max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=40),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=40, end=max_iters, eta_min=1e-5)
]
custom_hooks = [
    dict(type='sparsevit_mm.WindowPruningHook'),
    dict(type='sparsevit_mm.SparsityAdaptationHook', begin=max_iters // 2)
]
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(by_epoch=False, interval=50, max_keep_ckpts=2))
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
