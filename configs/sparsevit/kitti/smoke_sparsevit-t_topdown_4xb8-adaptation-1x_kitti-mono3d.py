# Sparsity-aware adaptation (section 3.3) of SMOKE: 12 epochs from the dense detector, learning rate
# 1e-5, a random schedule in every iteration.
_base_ = '../_base_/smoke_swin-t_topdown_4xb8-6x_kitti-mono3d.py'

max_epochs = 12
model = dict(
    backbone=dict(
        _delete_=True, type='sparsevit_mm.SparseViT', arch='tiny', drop_path_rate=0.2))

load_from = 'work_dirs/smoke_swin-t-p4-w7_topdown_4xb8-6x_kitti-mono3d/epoch_72.pth'
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=[8, 11], gamma=0.1)
]
optim_wrapper = dict(optimizer=dict(lr=1e-5))
