# 800 iterations from scratch: the first half dense, the second half with a random pruning schedule
# each iteration, so that one network serves every schedule.
max_iters = 800

train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys=dict(relative_position_bias_table=dict(decay_mult=0.0))),
    clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=40),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=40, end=max_iters, eta_min=1e-5)
]
custom_hooks = [
    dict(type='sparsevit_mm.WindowPruningHook'),
    dict(type='sparsevit_mm.SparsityAdaptationHook', begin=max_iters // 2)
]
randomness = dict(seed=0)
