# UPerNet with SparseViT-T at the ratios of COCO's cfg2 and a decode head that skips 72% of the windows of
# stride 4. They show the recipe: search your own for Cityscapes and put them here.
_base_ = '../_base_/swin-t_upernet_8xb2-80k_cityscapes-512x1024.py'

max_iters = 40000
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=6e-6))
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_iters

load_from = 'work_dirs/sparsevit-t-heads_upernet_8xb2-adaptation-20k_cityscapes-512x1024/iter_20000.pth'

model = dict(
    type='sparsevit_mm.SparseHeads',
    of='EncoderDecoder',
    head_ratios=[0.72, 0.0, 0.0, 0.0],
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        arch='tiny',
        pruning_ratios=[[0.6], [0.0], [0.2, 0.4, 0.5], [0.0]],
        drop_path_rate=0.3))
