# Sparsity-aware adaptation (section 3.3) of a Mask R-CNN whose FPN and RPN skip windows, too: 12 epochs
# from the dense detector, learning rate 1e-5, steps 8 and 11. Every iteration draws ratios of the
# blocks and of neck and head. Its weights serve every schedule.
_base_ = '../_base_/mask-rcnn_swin-t_fpn_amp-ms-crop-3x_coco-672x672.py'

max_epochs = 12
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=1e-5))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=[8, 11], gamma=0.1)
]
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]

model = dict(
    type='sparsevit_mm.SparseHeads',
    of='MaskRCNN',
    backbone=dict(
        _delete_=True, type='sparsevit_mm.SparseViT', arch='tiny', drop_path_rate=0.2))

# MMDetection's dense Mask R-CNN, trained by the recipe this config inherits; fetched when training
# starts. A file of your own: --cfg-options load_from=...
load_from = 'https://download.openmmlab.com/mmdetection/v2.0/swin/mask_rcnn_swin-t-p4-w7_fpn_fp16_ms-crop-3x_coco/mask_rcnn_swin-t-p4-w7_fpn_fp16_ms-crop-3x_coco_20210908_165006-90a4008c.pth'  # noqa
