# Search for the ratios of the adapted BEVDet at 256x704, on the MACs that table 1 prints for six cameras.
#   python tools/search.py THIS_FILE work_dirs/bevdet_sparsevit-t_8xb8-adaptation-20e_nus-3d-256x704/epoch_20.pth
# The candidates are compared on 500 key frames of the training set by nuScenes' score without
# attributes: nuScenes' own evaluation takes whole splits only. Another row of the table: --macs 58.6G.
_base_ = '../../sparsevit/_base_/bevdet_swin-t_8xb8-cyclic-20e_nus-3d.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        arch='tiny',
        out_indices=(2, 3),
        drop_path_rate=0.0,
        with_cp=True))

load_from = 'work_dirs/bevdet_sparsevit-t_8xb8-adaptation-20e_nus-3d-256x704/epoch_20.pth'
val_evaluator = dict(_delete_=True, type='sparsevit_mm.NuScenesDetectionMetric')
test_evaluator = val_evaluator
test_cfg = dict(
    _delete_=True,
    type='sparsevit_mm.ScheduleSearchLoop',
    metric='nuscenes/NDS',
    budget=dict(macs='78.4G', of='backbone', shape=(256, 704), batch=6),
    split=dict(share=0.05, images=500))
