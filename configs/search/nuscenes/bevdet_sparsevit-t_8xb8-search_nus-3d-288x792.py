# Search for the ratios of the adapted BEVDet at 288x792, on the MACs that table 1 prints for six cameras.
#   python tools/search.py THIS_FILE work_dirs/bevdet_sparsevit-t_8xb8-adaptation-20e_nus-3d-288x792/epoch_20.pth
# The candidates are compared on 500 key frames of the training set by nuScenes' score without
# attributes: nuScenes' own evaluation takes whole splits only.
_base_ = ['../../sparsevit/_base_/bevdet_swin-t_8xb8-cyclic-20e_nus-3d.py', '../../sparsevit/_base_/bevdet_ratios_nus-3d.py']

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].size = test_pipeline[1].size = (288, 792)
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

model = dict(backbone=dict(_delete_=True, **_base_.sparsevit_backbone))

load_from = 'work_dirs/bevdet_sparsevit-t_8xb8-adaptation-20e_nus-3d-288x792/epoch_20.pth'
val_evaluator = dict(_delete_=True, type='sparsevit_mm.NuScenesDetectionMetric')
test_evaluator = val_evaluator
test_cfg = dict(
    _delete_=True,
    type='sparsevit_mm.ScheduleSearchLoop',
    metric='nuscenes/NDS',
    budget=dict(macs='113.9G', of='backbone', shape=(288, 792), batch=6),
    split=dict(share=0.05, images=500))
