# Sparsity-aware adaptation (section 3.3) of a RetinaNet whose FPN and head skip windows, too: 12 epochs
# from the dense detector, learning rate 1e-5, steps 8 and 11. Every iteration draws ratios of the
# blocks and of neck and head.
_base_ = '../_base_/retinanet_swin-t_fpn_amp-ms-3x_coco-672x672.py'

# Twelve epochs are twelve passes here: the data set is not repeated.
train_dataloader = dict(dataset=dict(times=1))
optim_wrapper = dict(optimizer=dict(lr=1e-5))
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [8, 11]
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]

model = dict(
    type='sparsevit_mm.SparseHeads',
    of='RetinaNet',
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SparseViT',
        arch='tiny',
        out_indices=(1, 2, 3),
        drop_path_rate=0.2))

load_from = 'work_dirs/retinanet_swin-t-p4-w7_fpn_amp-ms-3x_coco-672x672/epoch_12.pth'
