# MMDetection3D's SMOKE and its schedule on KITTI (72 epochs, 4 GPUs x 8 images of 1280x384), with the
# optimizer that Swin-shaped networks want and a neck to the one map of stride 4 that the head reads.
# Evaluated without CUDA. No figures with FasterViT are published.
_base_ = ['mmdet3d::smoke/smoke_dla34_dlaneck_gn-all_4xb8-6x_kitti-mono3d.py', './shared.py']

data_source = (
    'KITTI (https://www.cvlibs.net/datasets/kitti/eval_object.php: left color images, labels and '
    'calibration in data/kitti/training, the lists of frames in data/kitti/ImageSets, and python '
    'tools/make_kitti_infos.py data/kitti)')

model = dict(
    backbone=_base_.dense_backbone,
    neck=dict(
        _delete_=True,
        type='sparsevit_mm.TopDownNeck',
        in_channels=[64, 128, 256, 512],
        out_channels=64))
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=_base_.no_decay,
    clip_grad=dict(max_norm=35, norm_type=2))
val_evaluator = dict(
    _delete_=True, type='sparsevit_mm.KittiAPMetric', ann_file='data/kitti/kitti_infos_val.pkl')
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=2))
auto_scale_lr = dict(base_batch_size=32)
