# Finetuning of the demo's UPerNet with half of the windows of stride 4 skipped in the decode head, from the
# weights that were adapted with sparse heads.
_base_ = './sparsevit-mini_upernet_adaptation_demo-224x448.py'

model = dict(
    type='sparsevit_mm.SparseHeads', of='EncoderDecoder', head_ratios=[0.5, 0.0, 0.0, 0.0])
load_from = 'work_dirs/sparsevit-mini-heads_upernet_adaptation_demo-224x448/iter_800.pth'
custom_hooks = []

max_iters = 100
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=2e-4))
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = 10
param_scheduler[1].begin = 10
param_scheduler[1].end = max_iters
