# SparseViT cfg2 of table 2: 29.1 G MACs an image at 672x672 (counted), 116.3 G for the paper's four
# (116.5 G printed). Finetuned from the adapted weights at the searched ratios, learning rate 1e-5.
_base_ = '../_base_/mask-rcnn_swin-t_fpn_amp-ms-crop-3x_coco-672x672.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        arch='tiny',
        pruning_ratios=[[0.6], [0.0], [0.2, 0.4, 0.5], [0.0]],
        drop_path_rate=0.2))

load_from = 'work_dirs/mask-rcnn_sparsevit-t_fpn_amp-adaptation-1x_coco-672x672/epoch_12.pth'
optim_wrapper = dict(optimizer=dict(lr=1e-5))
