# Finetuning at the ratios that the search beside this file finds, from the adapted weights.
_base_ = '../../sparsevit/_base_/swin-t_upernet_8xb2-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(
        _delete_=True, type='sparsevit_mm.SparseViT', arch='tiny', drop_path_rate=0.3))

load_from = 'work_dirs/sparsevit-t_upernet_8xb2-adaptation-40k_ade20k-512x512/iter_40000.pth'
custom_hooks = [
    dict(
        type='sparsevit_mm.WindowPruningHook',
        schedule='work_dirs/sparsevit-t_upernet_search_ade20k-512x512/schedule.json')
]

max_iters = 80000
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=6e-6))
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_iters
