# Sparsity-aware adaptation of FasterViT-0 on ImageNet: a tenth of the training at a tenth of its
# learning rate, a random schedule in every iteration. At 224 pixels the third stage has four windows
# and the last one a single one, which is always computed; more pixels have more to skip.
_base_ = '../_base_/fastervit_8xb128-300e_in1k.py'

load_from = 'work_dirs/fastervit-0_8xb128-300e_in1k/epoch_300.pth'
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]

max_epochs = 30
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = 2
param_scheduler[1].begin = 2
param_scheduler[1].end = max_epochs
param_scheduler[1].eta_min = 1e-6
