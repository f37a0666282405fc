# Sparsity-aware adaptation of Cascade Mask R-CNN with FasterViT-2, by SparseViT's recipe: 12 epochs
# from the dense detector, a tenth of its learning rate, a random schedule in every iteration.
_base_ = '../_base_/cascade-mask-rcnn_fastervit_fpn_amp-ms-3x_coco.py'

model = dict(backbone=dict(arch='2'), neck=dict(in_channels=[96, 192, 384, 768]))

load_from = 'work_dirs/cascade-mask-rcnn_fastervit-2_fpn_amp-ms-3x_coco/epoch_12.pth'
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]

# Twelve epochs are twelve passes here: the data set is not repeated.
train_dataloader = dict(dataset=dict(times=1))
optim_wrapper = dict(optimizer=dict(lr=1e-5))
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [8, 11]
