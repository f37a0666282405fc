# Swin-T R192 of table 1: 67.0 G MACs for six cameras (counted; 67.1 G printed).
_base_ = '../_base_/bevdet_swin-t_8xb8-cyclic-20e_nus-3d.py'

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].size = test_pipeline[1].size = (192, 528)
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
