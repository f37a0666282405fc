# FCOS3D with SparseViT-T, finetuned from the adapted weights at the ratios of COCO's cfg2. They show
# the recipe: no ratios for nuScenes are published, so search your own and put them here.
_base_ = '../_base_/fcos3d_swin-t_fpn_8xb2-1x_nus-mono3d.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        arch='tiny',
        out_indices=(1, 2, 3),
        pruning_ratios=[[0.6], [0.0], [0.2, 0.4, 0.5], [0.0]],
        drop_path_rate=0.2))

load_from = 'work_dirs/fcos3d_sparsevit-t_fpn_8xb2-adaptation-1x_nus-mono3d/epoch_12.pth'
optim_wrapper = dict(optimizer=dict(lr=1e-5))
