# Sparsity-aware adaptation of the dense network: a random schedule in every iteration.
_base_ = './swin-micro_upernet_1500it_camvid-480x360.py'

load_from = 'work_dirs/swin-micro_upernet_1500it_camvid-480x360/iter_1500.pth'
model = dict(data_preprocessor=dict(size=(360, 480)))
train_dataloader = dict(batch_size=1, dataset=dict(pipeline=_base_.train_pipeline))
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]

max_iters = 400
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = 10
param_scheduler[1].begin = 10
param_scheduler[1].end = max_iters
