# Finetuning at the ratios that the search beside this file finds, from the adapted weights, learning
# rate 1e-5.
_base_ = '../../sparsevit/_base_/mask-rcnn_swin-t_fpn_amp-ms-crop-3x_coco-672x672.py'

model = dict(
    backbone=dict(
        _delete_=True, type='sparsevit_mm.SparseViT', arch='tiny', drop_path_rate=0.2))

load_from = 'work_dirs/mask-rcnn_sparsevit-t_fpn_amp-adaptation-1x_coco-672x672/epoch_12.pth'
custom_hooks = [
    dict(
        type='sparsevit_mm.WindowPruningHook',
        schedule='work_dirs/mask-rcnn_sparsevit-t_fpn_amp-search_coco-672x672/schedule.json')
]
optim_wrapper = dict(optimizer=dict(lr=1e-5))
