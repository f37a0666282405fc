# BEVDet with dense Swin-T at 288x792: no row of table 1, but where its SparseViT of that size starts.
_base_ = '../_base_/bevdet_swin-t_8xb8-cyclic-20e_nus-3d.py'

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].size = test_pipeline[1].size = (288, 792)
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
