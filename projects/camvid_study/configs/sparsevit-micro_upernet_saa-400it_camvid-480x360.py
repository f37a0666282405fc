# Sparsity-aware adaptation of the dense network: a random schedule in every iteration.
_base_ = './_base_/upernet_micro_camvid.py'

load_from = 'work_dirs/swin-micro_upernet_2000it_camvid-480x360/iter_2000.pth'
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]

max_iters = 400
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=max_iters, eta_min=1e-5)
]
