# Three times as long as its base: what a network has learned decides what skipping can lose.
_base_ = ['retinanet_sparsevit-micro_fpn_400it_aerial-cars.py']

max_iters = 1200
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=40),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=40, end=max_iters, eta_min=1e-5)
]
