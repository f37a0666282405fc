# Sparsity-aware adaptation (section 3.3) of a UPerNet with Swin-T whose decode head skips windows, too.
# Every iteration draws ratios of the blocks and of the head.
_base_ = '../_base_/swin-t_upernet_8xb2-80k_cityscapes-512x1024.py'

max_iters = 20000
train_cfg = dict(max_iters=max_iters, val_interval=5000)
optim_wrapper = dict(optimizer=dict(lr=6e-6))
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_iters
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]

load_from = 'work_dirs/swin-t-p4-w7_upernet_8xb2-80k_cityscapes-512x1024/iter_80000.pth'

model = dict(
    type='sparsevit_mm.SparseHeads',
    of='EncoderDecoder',
    backbone=dict(
        _delete_=True, type='sparsevit_mm.SparseViT', arch='tiny', drop_path_rate=0.3))
