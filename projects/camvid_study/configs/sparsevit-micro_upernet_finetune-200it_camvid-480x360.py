# Finetuning of the adapted network at the ratios that the search beside this file finds.
_base_ = './_base_/upernet_micro_camvid.py'

load_from = 'work_dirs/sparsevit-micro_upernet_saa-400it_camvid-480x360/iter_400.pth'
custom_hooks = [
    dict(
        type='sparsevit_mm.WindowPruningHook',
        schedule='work_dirs/sparsevit-micro_upernet_search_camvid-480x360/schedule.json')
]

max_iters = 200
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=3e-4))
param_scheduler = [
    dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=max_iters, eta_min=1e-5)
]
