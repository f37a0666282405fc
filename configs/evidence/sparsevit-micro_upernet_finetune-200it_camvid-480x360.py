# Finetuning of the adapted network at the ratios that the search beside this file finds.
_base_ = './swin-micro_upernet_1500it_camvid-480x360.py'

load_from = 'work_dirs/sparsevit-micro_upernet_saa-400it_camvid-480x360/iter_400.pth'
model = dict(data_preprocessor=dict(size=(360, 480)))
train_dataloader = dict(batch_size=1, dataset=dict(pipeline=_base_.train_pipeline))
custom_hooks = [
    dict(
        type='sparsevit_mm.WindowPruningHook',
        schedule='work_dirs/sparsevit-micro_upernet_search_camvid-480x360/schedule.json')
]

max_iters = 200
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=3e-4))
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = 10
param_scheduler[1].begin = 10
param_scheduler[1].end = max_iters
