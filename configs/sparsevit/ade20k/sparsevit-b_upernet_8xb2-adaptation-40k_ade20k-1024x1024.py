# Sparsity-aware adaptation (section 3.3) of UPerNet with Swin-B: a quarter of its training at a
# tenth of its learning rate, a random schedule in every iteration, from the dense UPerNet of
# this size.
_base_ = '../_base_/swin-t_upernet_8xb2-160k_ade20k-1024x1024.py'

model = dict(
    backbone=dict(
        _delete_=True, type='sparsevit_mm.SparseViT', arch='base', drop_path_rate=0.3),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512))

load_from = 'work_dirs/swin-b-p4-w7-in1k_upernet_8xb2-160k_ade20k-1024x1024/iter_160000.pth'
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]

max_iters = 40000
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=6e-6))
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_iters
