# SparseViT cfg2 with a sparse FPN and RPN: 70% of the windows of strides 4 and 8 are skipped there, as a
# start; no head ratios for COCO are published, so search your own. Finetuned from the weights that
# were adapted with sparse heads, learning rate 1e-5.
_base_ = '../_base_/mask-rcnn_swin-t_fpn_amp-ms-crop-3x_coco-672x672.py'



model = dict(
    type='sparsevit_mm.SparseHeads',
    of='MaskRCNN',
    head_ratios=[0.7, 0.7, 0.0, 0.0],
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        arch='tiny',
        pruning_ratios=[[0.6], [0.0], [0.2, 0.4, 0.5], [0.0]],
        drop_path_rate=0.2))

load_from = 'work_dirs/mask-rcnn_sparsevit-t-heads_fpn_amp-adaptation-1x_coco-672x672/epoch_12.pth'
optim_wrapper = dict(optimizer=dict(lr=1e-5))
