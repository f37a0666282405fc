# Sparsity-aware adaptation (section 3.3) of BEVDet at 288x792: from the dense detector, a tenth of its
# learning rate, a random schedule in every iteration. How long the paper adapts on nuScenes could not
# be read; this repeats the dense schedule.
_base_ = ['../_base_/bevdet_swin-t_8xb8-cyclic-20e_nus-3d.py', '../_base_/bevdet_ratios_nus-3d.py']

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].size = test_pipeline[1].size = (288, 792)
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

model = dict(backbone=dict(_delete_=True, **_base_.sparsevit_backbone))

load_from = 'work_dirs/bevdet_swin-t-p4-w7_8xb8-cyclic-20e_nus-3d-288x792/epoch_20.pth'
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]
optim_wrapper = dict(optimizer=dict(lr=2e-5))
