# SparseViT of table 1 at 288x792 and 113.9 G MACs for six cameras (counted; 113.9 G printed): finetuned
# from the adapted weights at ratios of ours, a tenth of the dense learning rate.
_base_ = ['../_base_/bevdet_swin-t_8xb8-cyclic-20e_nus-3d.py', '../_base_/bevdet_ratios_nus-3d.py']

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].size = test_pipeline[1].size = (288, 792)
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

model = dict(backbone=dict(_delete_=True, pruning_ratios=_base_.ratios_114g_288x792, **_base_.sparsevit_backbone))

load_from = 'work_dirs/bevdet_sparsevit-t_8xb8-adaptation-20e_nus-3d-288x792/epoch_20.pth'
optim_wrapper = dict(optimizer=dict(lr=2e-5))
