# Sparsity-aware adaptation (section 3.3) of FCOS3D: 12 epochs from the dense detector, learning rate
# 1e-5, a random schedule in every iteration.
_base_ = '../_base_/fcos3d_swin-t_fpn_8xb2-1x_nus-mono3d.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        arch='tiny',
        out_indices=(1, 2, 3),
        drop_path_rate=0.2))

load_from = 'work_dirs/fcos3d_swin-t-p4-w7_fpn_8xb2-1x_nus-mono3d/epoch_12.pth'
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]
optim_wrapper = dict(optimizer=dict(lr=1e-5))
