# UPerNet with SparseViT-S, finetuned from the adapted weights at the ratios of COCO's cfg2, stretched to
# nine pairs of blocks. They show the recipe: no ratios for ADE20K are published, so search
# your own and put them here.
_base_ = '../_base_/swin-t_upernet_8xb2-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(
        _delete_=True, type='sparsevit_mm.SparseViT', arch='small',
        pruning_ratios=[[0.6], [0.0], 3 * [0.2] + 3 * [0.4] + 3 * [0.5], [0.0]],
        drop_path_rate=0.3))

load_from = 'work_dirs/sparsevit-s_upernet_8xb2-adaptation-40k_ade20k-512x512/iter_40000.pth'

max_iters = 80000
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=6e-6))
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_iters
