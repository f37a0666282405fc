# A run's config from before the house, as its user wrote it.
default_scope = 'mmdet'
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
randomness = dict(seed=3)
model = dict(
    type='RetinaNet',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, pad_size_divisor=4),
    backbone=dict(
        type='sparsevit_mm.SparseViT', embed_dims=8, depths=(2, 1), num_heads=(1, 2),
        pruning_ratios=[[0.2], [0.4]], out_indices=(0, 1), drop_path_rate=0.0, window_size=4),
    neck=dict(type='FPN', in_channels=[8, 16], out_channels=8, num_outs=2),
    bbox_head=dict(
        type='RetinaHead', num_classes=2, in_channels=8, feat_channels=8, stacked_convs=1,
        anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1, ratios=[1.0],
            strides=[4, 8]),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25)),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
        allowed_border=-1, pos_weight=-1),
    test_cfg=dict(nms_pre=100, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5),
                  max_per_img=10))
train_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset', data_root='data', ann_file='instances.json',
        data_prefix=dict(img='images'), metainfo=dict(classes=('person', 'car')),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='Resize', scale=(84, 60), keep_ratio=False),
            dict(type='PackDetInputs')]))
train_cfg = dict(by_epoch=True, max_epochs=2)
# So large an eps keeps Adam from blowing up gradients that are nothing but rounding.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, eps=1e-3))
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=16)]
default_hooks = dict(logger=dict(type='LoggerHook', interval=1))
custom_hooks = [
    dict(type='sparsevit_mm.WindowPruningHook', schedule=[[0.3], [0.5]]),
    dict(type='sparsevit_mm.SparsityAdaptationHook', seed=1)]
