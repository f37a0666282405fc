# RetinaNet at the ratios of cfg2 with a sparse FPN and head: 70% of the windows of stride 8 and half of
# those of stride 16 are skipped there, as a start; search your own. Learning rate 1e-5.
_base_ = '../_base_/retinanet_swin-t_fpn_amp-ms-3x_coco-672x672.py'



model = dict(
    type='sparsevit_mm.SparseHeads',
    of='RetinaNet',
    head_ratios=[0.0, 0.7, 0.5, 0.0],
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        arch='tiny',
        out_indices=(1, 2, 3),
        pruning_ratios=[[0.6], [0.0], [0.2, 0.4, 0.5], [0.0]],
        drop_path_rate=0.2))

load_from = 'work_dirs/retinanet_sparsevit-t-heads_fpn_amp-adaptation-1x_coco-672x672/epoch_12.pth'
optim_wrapper = dict(optimizer=dict(lr=1e-5))
