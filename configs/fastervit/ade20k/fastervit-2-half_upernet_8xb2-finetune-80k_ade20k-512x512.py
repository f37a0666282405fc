# UPerNet with half of the windows of FasterViT-2 skipped, finetuned from the adapted weights. The
# ratios show the recipe; none are published, so search your own.
_base_ = '../_base_/fastervit_upernet_8xb2-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(arch='2', pruning_ratios=[[0.0], [0.0], [0.5], [0.5]]),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384))

load_from = 'work_dirs/fastervit-2_upernet_8xb2-adaptation-40k_ade20k-512x512/iter_40000.pth'

max_iters = 80000
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=6e-6))
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_iters
