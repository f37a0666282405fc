# Sparsity-aware adaptation (section 3.3) of Mask2Former: 20k iterations at a tenth of its learning
# rate, a random schedule in every iteration, from MMSegmentation's dense network, fetched when
# training starts.
_base_ = '../_base_/mask2former_swin-t_8xb2-90k_cityscapes-512x1024.py'

model = dict(
    backbone=dict(
        _delete_=True, type='sparsevit_mm.SparseViT', arch='tiny', drop_path_rate=0.3))

load_from = 'https://download.openmmlab.com/mmsegmentation/v0.5/mask2former/mask2former_swin-t_8xb2-90k_cityscapes-512x1024/mask2former_swin-t_8xb2-90k_cityscapes-512x1024_20221127_144501-36c59341.pth'  # noqa: E501
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]

max_iters = 20000
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=1e-5))
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = max_iters
