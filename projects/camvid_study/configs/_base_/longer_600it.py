# As many iterations as adaptation and finetuning together, with the same two cycles.
max_iters = 600
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(
        type='CosineRestartLR',
        by_epoch=False,
        periods=[400, 200],
        restart_weights=[1.0, 0.6],
        eta_min=1e-5)
]
