"""Tiny data sets and configs: whole runs of the tools in seconds.

The detector has nothing random in training (no dropout, no sampling of boxes, a fixed order of
images), so that two runs can be compared weight by weight.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

CATEGORIES = ('person', 'car')  # names that COCO's class list has, too
HEIGHT, WIDTH = 60, 84
DEPTHS = (2, 2)

DETECTOR = """
default_scope = 'mmdet'
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
randomness = dict(seed=3)
log_level = 'INFO'
data_source = 'the tiny set'
model = dict(
    type='RetinaNet',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, pad_size_divisor=4),
    backbone=dict(
        type='sparsevit_mm.SparseViT', embed_dims=12, depths=(2, 2), num_heads=(1, 2),
        pruning_ratios=[[0.2], [0.4]], out_indices=(0, 1), drop_path_rate=0.0, window_size=4),
    neck=dict(type='FPN', in_channels=[12, 24], out_channels=16, num_outs=2),
    bbox_head=dict(
        type='RetinaHead', num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1,
        anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1, ratios=[1.0],
            strides=[4, 8]),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25)),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
        allowed_border=-1, pos_weight=-1),
    test_cfg=dict(nms_pre=100, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5),
                  max_per_img=10))
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(84, 60), keep_ratio=False),
    dict(type='PackDetInputs',
         meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
dataset = dict(
    type='CocoDataset', data_root='DATA', ann_file='instances.json',
    data_prefix=dict(img='images'), metainfo=dict(classes=('person', 'car')), pipeline=pipeline)
train_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dataset)
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(test_mode=True, **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file='DATA/instances.json', metric='bbox')
test_evaluator = val_evaluator
train_cfg = dict(by_epoch=True, max_epochs=3, val_interval=3)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
param_scheduler = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50)]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    visualization=dict(type='DetVisualizationHook'))
custom_hooks = [
    dict(type='sparsevit_mm.WindowPruningHook', schedule=[[0.3], [0.5]]),
    dict(type='sparsevit_mm.SparsityAdaptationHook', seed=1)]
visualizer = dict(
    type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
"""

# The same detector with a backbone that has no schedule.
PLAIN_DETECTOR = DETECTOR.replace(
    "type='sparsevit_mm.SparseViT'", "type='SwinTransformer'"
).replace('pruning_ratios=[[0.2], [0.4]]', 'strides=(4, 2)')

SEGMENTOR = """
default_scope = 'mmseg'
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3, size=(60, 84),
        seg_pad_val=255),
    backbone=dict(
        type='sparsevit_mm.SparseViT', embed_dims=12, depths=(2, 2), num_heads=(1, 2),
        pruning_ratios=[[0.5], [0.5]], out_indices=(0, 1), window_size=4),
    decode_head=dict(
        type='FCNHead', in_channels=24, in_index=1, channels=8, num_convs=1, num_classes=3,
        norm_cfg=dict(type='BN'), align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss')),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(84, 60), keep_ratio=False),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')]
dataset = dict(
    type='BaseSegDataset', data_root='DATA',
    data_prefix=dict(img_path='images', seg_map_path='labels'), img_suffix='.png',
    metainfo=dict(
        classes=('ground', 'person', 'car'), palette=[[90, 90, 90], [220, 20, 60], [0, 0, 142]]),
    pipeline=pipeline)
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dataset)
test_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dataset)
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
train_cfg = dict(by_epoch=True, max_epochs=1)
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
default_hooks = dict(visualization=dict(type='SegVisualizationHook'))
visualizer = dict(
    type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
"""


def write_tiny_data(root: Path, images: int = 16) -> Path:
    """Writes images of two boxes on noise, with boxes, masks (as polygons) and label maps."""
    rng = np.random.default_rng(0)
    (root / 'images').mkdir(parents=True)
    (root / 'labels').mkdir()
    annotations = []
    for number in range(images):
        image = rng.integers(0, 80, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        labels = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        for category, (color, left) in enumerate([((250, 90, 60), 4), ((70, 120, 250), 44)]):
            x, y = left + int(rng.integers(0, 12)), int(rng.integers(2, 24))
            w, h = (int(side) for side in rng.integers(14, 26, 2))
            image[y : y + h, x : x + w] = color
            labels[y : y + h, x : x + w] = category + 1
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=category + 1,
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=0,
                    segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]],
                )
            )
        Image.fromarray(image).save(root / 'images' / f'{number}.png')
        Image.fromarray(labels).save(root / 'labels' / f'{number}.png')
    coco = dict(
        images=[
            dict(id=number, file_name=f'{number}.png', height=HEIGHT, width=WIDTH)
            for number in range(images)
        ],
        annotations=annotations,
        categories=[dict(id=i + 1, name=name) for i, name in enumerate(CATEGORIES)],
    )
    (root / 'instances.json').write_text(json.dumps(coco))
    return root


def write_config(path: Path, text: str, data: Path) -> Path:
    """Writes a config whose data set lies at `data`."""
    path.write_text(text.replace('DATA', str(data)))
    return path
