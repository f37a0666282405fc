# SparseViT of table 1 at 256x704 and 78.4 G MACs for six cameras (counted; 78.4 G printed): finetuned
# from the adapted weights at ratios of ours, a tenth of the dense learning rate.
_base_ = ['../_base_/bevdet_swin-t_8xb8-cyclic-20e_nus-3d.py', '../_base_/bevdet_ratios_nus-3d.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        arch='tiny',
        out_indices=(2, 3),
        pruning_ratios=_base_.ratios_78g_256x704,
        drop_path_rate=0.0,
        with_cp=True))

load_from = 'work_dirs/bevdet_sparsevit-t_8xb8-adaptation-20e_nus-3d-256x704/epoch_20.pth'
optim_wrapper = dict(optimizer=dict(lr=2e-5))
