# Finetuning of the adapted network at the ratios that the search beside this file finds.
_base_ = ['./sparsevit-mini_upernet_adaptation_demo-224x448.py', './_base_/fastervit_mini.py']

model = dict(backbone=_base_.fastervit_mini)
load_from = 'work_dirs/fastervit-mini_upernet_adaptation_demo-224x448/iter_800.pth'
custom_hooks = [
    dict(
        type='sparsevit_mm.WindowPruningHook',
        schedule='work_dirs/fastervit-mini_upernet_search_demo-224x448/schedule.json')
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='sparsevit_mm.ExcludeHeldOut',
        share=0.25,
        dataset=_base_.train_dataloader.dataset))

max_iters = 100
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=2e-4))
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = 10
param_scheduler[1].begin = 10
param_scheduler[1].end = max_iters
