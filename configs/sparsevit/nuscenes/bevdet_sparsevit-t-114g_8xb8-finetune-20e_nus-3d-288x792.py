# SparseViT of table 1 at 288x792 and 113.9 G MACs for six cameras (counted; 113.9 G printed): finetuned
# from the adapted weights at ratios of ours, a tenth of the dense learning rate.
_base_ = '../_base_/bevdet_sparsevit-t_8xb8-20e_nus-3d-288x792.py'

model = dict(backbone=dict(pruning_ratios=_base_.ratios_114g_288x792))
load_from = 'work_dirs/bevdet_sparsevit-t_8xb8-adaptation-20e_nus-3d-288x792/epoch_20.pth'
optim_wrapper = dict(optimizer=dict(lr=2e-5))
