# Sparsity-aware adaptation of UPerNet with FasterViT-2, by SparseViT's recipe: a quarter of the dense
# training at a tenth of its learning rate, a random schedule in every iteration.
_base_ = '../_base_/fastervit_upernet_8xb2-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(arch='2'),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384))

load_from = 'work_dirs/fastervit-2_upernet_8xb2-160k_ade20k-512x512/iter_160000.pth'
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]

max_iters = 40000
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=6e-6))
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_iters
