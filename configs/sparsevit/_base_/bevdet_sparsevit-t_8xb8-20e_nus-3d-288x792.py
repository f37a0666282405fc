# BEVDet with SparseViT-T at 288x792: what the adaptation, the search and the finetuning of that size share.
_base_ = ['./bevdet_swin-t_8xb8-cyclic-20e_nus-3d.py', './bevdet_ratios_nus-3d.py']

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].size = test_pipeline[1].size = (288, 792)
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        arch='tiny',
        out_indices=(2, 3),
        drop_path_rate=0.0,
        with_cp=True))
