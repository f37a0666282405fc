# SMOKE with SparseViT-T, finetuned from the adapted weights at the ratios of COCO's cfg2. They show
# the recipe: search your own and put them here.
_base_ = '../_base_/smoke_swin-t_topdown_4xb8-6x_kitti-mono3d.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        arch='tiny',
        pruning_ratios=[[0.6], [0.0], [0.2, 0.4, 0.5], [0.0]],
        drop_path_rate=0.2))

load_from = 'work_dirs/smoke_sparsevit-t_topdown_4xb8-adaptation-1x_kitti-mono3d/epoch_12.pth'
optim_wrapper = dict(optimizer=dict(lr=1e-5))
