# Cascade Mask R-CNN at the ratios of cfg2, which were searched for Mask R-CNN and not again for this
# detector: 29.1 G MACs of the backbone an image at 672x672 (counted). Learning rate 1e-5.
_base_ = '../_base_/cascade-mask-rcnn_swin-t_fpn_amp-ms-3x_coco-672x672.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        arch='tiny',
        pruning_ratios=[[0.6], [0.0], [0.2, 0.4, 0.5], [0.0]],
        drop_path_rate=0.2))

load_from = 'work_dirs/cascade-mask-rcnn_sparsevit-t_fpn_amp-adaptation-1x_coco-672x672/epoch_12.pth'
optim_wrapper = dict(optimizer=dict(lr=1e-5))
