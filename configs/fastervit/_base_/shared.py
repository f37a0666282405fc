# What the recipes share. Maps are normed, and batch norms keep the statistics of pre-training, for
# the batches of detectors and segmentors are small.
dense_backbone = dict(
    _delete_=True,
    type='sparsevit_mm.FasterViT',
    arch='0',
    out_norm_cfg=dict(type='LN'),
    norm_eval=True)
# What does not decay in FasterViT and in Swin, as usual in the field.
no_decay = dict(
    norm_decay_mult=0.0,
    bias_decay_mult=0.0,
    custom_keys=dict(
        position=dict(decay_mult=0.0),
        gamma=dict(decay_mult=0.0),
        relative_position_bias_table=dict(decay_mult=0.0)))
# The published recipe of Cascade Mask R-CNN: AdamW, learning rate 1e-4, weight decay 0.05.
coco_optim_wrapper = dict(
    _delete_=True,
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=no_decay)
