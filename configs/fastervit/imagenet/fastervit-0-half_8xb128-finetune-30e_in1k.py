# FasterViT-0 with half of the windows of its third stage skipped, finetuned from the adapted weights
# (the last stage has a single window at 224 pixels). Test other shares with
#   python tools/test.py THIS_FILE CHECKPOINT --ratios "[0, 0, 0.25, 0]"
_base_ = '../_base_/fastervit_8xb128-300e_in1k.py'

model = dict(backbone=dict(pruning_ratios=[[0.0], [0.0], [0.5], [0.0]]))

load_from = 'work_dirs/fastervit-0_8xb128-adaptation-30e_in1k/epoch_30.pth'

max_epochs = 30
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = 2
param_scheduler[1].begin = 2
param_scheduler[1].end = max_epochs
param_scheduler[1].eta_min = 1e-6
