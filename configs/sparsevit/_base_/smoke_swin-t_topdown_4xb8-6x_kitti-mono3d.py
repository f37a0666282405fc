# MMDetection3D's SMOKE and its schedule on KITTI (72 epochs, 4 GPUs x 8 images of 1280x384) with
# Swin-T, its pixel statistics and its optimizer, and a neck to the one map of stride 4 that the head
# reads. Evaluated without CUDA.
_base_ = [
    './swin-t_1x_nus-mono3d.py',
    'mmdet3d::smoke/smoke_dla34_dlaneck_gn-all_4xb8-6x_kitti-mono3d.py'
]

data_source = (
    'KITTI (https://www.cvlibs.net/datasets/kitti/eval_object.php: left color images, labels and '
    'calibration in data/kitti/training, the lists of frames in data/kitti/ImageSets, and python '
    'tools/make_kitti_infos.py data/kitti)')

model = dict(
    data_preprocessor=_base_.swin_pixels,
    backbone=dict(_delete_=True, **{**_base_.swin_backbone, 'out_indices': (0, 1, 2, 3)}),
    neck=dict(
        _delete_=True,
        type='sparsevit_mm.TopDownNeck',
        in_channels=[96, 192, 384, 768],
        out_channels=64))
optim_wrapper = dict(_delete_=True, **_base_.swin_optim_wrapper)
val_evaluator = dict(
    _delete_=True, type='sparsevit_mm.KittiAPMetric', ann_file='data/kitti/kitti_infos_val.pkl')
test_evaluator = val_evaluator
auto_scale_lr = dict(base_batch_size=32)
default_hooks = dict(checkpoint=_base_.every_epoch)
