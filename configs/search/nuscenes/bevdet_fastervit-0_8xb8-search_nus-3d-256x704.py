# Search for the ratios of the adapted BEVDet with FasterViT-0 at 256x704, for 0.85 of the dense MACs.
#   python tools/search.py THIS_FILE work_dirs/bevdet_fastervit-0_8xb8-adaptation-20e_nus-3d-256x704/epoch_20.pth
# The candidates are compared on 500 key frames of the training set by nuScenes' score without
# attributes: nuScenes' own evaluation takes whole splits only.
_base_ = [
    '../../sparsevit/_base_/bevdet_swin-t_8xb8-cyclic-20e_nus-3d.py',
    '../../fastervit/_base_/shared.py'
]

model = dict(
    backbone=dict(
        _base_.dense_backbone,
        arch='0',
        out_indices=(2, 3),
        allocation=dict(type='batch', group_size=6)),
    neck=dict(in_channels=[256, 512]))

load_from = 'work_dirs/bevdet_fastervit-0_8xb8-adaptation-20e_nus-3d-256x704/epoch_20.pth'
val_evaluator = dict(_delete_=True, type='sparsevit_mm.NuScenesDetectionMetric')
test_evaluator = val_evaluator
test_cfg = dict(
    _delete_=True,
    type='sparsevit_mm.ScheduleSearchLoop',
    metric='nuscenes/NDS',
    budget=dict(macs='0.85x', of='backbone', shape=(256, 704), batch=6),
    split=dict(share=0.05, images=500))
