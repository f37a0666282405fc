# UPerNet with SparseViT-T and a sparse decode head, finetuned at the ratios of COCO's cfg2 and with 72% of
# the windows of stride 4 skipped in the head: 0.61 of the MACs of the dense model (counted). They show
# the recipe: search your own for ADE20K and put them here.
_base_ = '../_base_/swin-t_upernet_8xb2-160k_ade20k-512x512.py'

max_iters = 80000
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=6e-6))
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_iters

model = dict(
    type='sparsevit_mm.SparseHeads',
    of='EncoderDecoder',
    head_ratios=[0.72, 0.0, 0.0, 0.0],
    backbone=dict(
        _delete_=True, type='sparsevit_mm.SparseViT', arch='tiny',
        pruning_ratios=[[0.6], [0.0], [0.2, 0.4, 0.5], [0.0]],
        drop_path_rate=0.3))

load_from = 'work_dirs/sparsevit-t-heads_upernet_8xb2-adaptation-40k_ade20k-512x512/iter_40000.pth'
