# MMDetection3D's PGD and its schedule on nuScenes (12 epochs, 8 GPUs x 2 images of 1600x900) with
# Swin-T, its pixel statistics and its optimizer.
_base_ = [
    './swin-t_1x_nus-mono3d.py',
    'mmdet3d::pgd/pgd_r101-caffe_fpn_head-gn_16xb2-1x_nus-mono3d.py']

model = dict(
    data_preprocessor=_base_.swin_pixels,
    backbone=dict(_delete_=True, **_base_.swin_backbone),
    neck=dict(in_channels=[192, 384, 768], start_level=0))
optim_wrapper = dict(_delete_=True, **_base_.swin_optim_wrapper)
auto_scale_lr = dict(base_batch_size=16)
default_hooks = dict(checkpoint=_base_.every_epoch)
