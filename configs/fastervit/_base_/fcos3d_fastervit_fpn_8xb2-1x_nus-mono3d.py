# FCOS3D on nuScenes as MMDetection3D trains it (12 epochs, 8 GPUs x 2 images of 1600x900), with the
# optimizer that Swin-shaped networks want. No figures with FasterViT are published.
_base_ = [
    'mmdet3d::fcos3d/fcos3d_r101-caffe-dcn_fpn_head-gn_8xb2-1x_nus-mono3d.py', './shared.py'
]

data_source = (
    'nuScenes (https://www.nuscenes.org/nuscenes#download: the trainval split, with the info files '
    "that MMDetection3D's tools/create_data.py writes)")

model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(out_indices=(1, 2, 3), **_base_.dense_backbone),
    neck=dict(in_channels=[128, 256, 512], start_level=0))
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=_base_.no_decay,
    clip_grad=dict(max_norm=35, norm_type=2))
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=2))
auto_scale_lr = dict(base_batch_size=16)
