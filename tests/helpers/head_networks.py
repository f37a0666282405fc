"""Small segmentors and detectors around a narrow SparseViT, for tests of necks and heads."""

from __future__ import annotations

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope

DIMS = [12, 24, 48, 96]
BACKBONE = dict(
    type='sparsevit_mm.SparseViT', embed_dims=12, depths=(2, 2, 2, 2), num_heads=(1, 2, 3, 6),
    drop_path_rate=0.0,
)  # fmt: skip
BN = dict(type='BN', requires_grad=True)


def decode_head(kind, **changes):
    heads = dict(
        UPerHead=dict(
            in_channels=DIMS, in_index=[0, 1, 2, 3], pool_scales=(1, 2, 3, 6), channels=16
        ),
        FCNHead=dict(in_channels=DIMS[1], in_index=1, channels=16, num_convs=2, concat_input=True),
        FPNHead=dict(
            in_channels=[16] * 4, in_index=[0, 1, 2, 3], feature_strides=[4, 8, 16, 32],
            channels=16,
        ),
        SegformerHead=dict(in_channels=DIMS, in_index=[0, 1, 2, 3], channels=16),
    )  # fmt: skip
    common = dict(num_classes=5, dropout_ratio=0.1, norm_cfg=BN, align_corners=False)
    return {**dict(type=kind), **common, **heads[kind], **changes}


def segmentor(kind='UPerHead', backbone=BACKBONE, neck=None, build=None, **changes):
    register_modules('mmseg')
    neck = dict(type='FPN', in_channels=DIMS, out_channels=16, num_outs=4) if neck else None
    cfg = dict(
        type='EncoderDecoder', backbone=backbone, neck=neck,
        decode_head=decode_head(kind, **changes), train_cfg=dict(), test_cfg=dict(mode='whole'),
        data_preprocessor=dict(type='SegDataPreProcessor', size_divisor=1),
    )  # fmt: skip
    return built(cfg, 'mmseg', build)


def fpn(kind='FPN', start=1, **changes):
    return dict(
        type=kind, in_channels=DIMS, out_channels=16, start_level=start,
        add_extra_convs='on_output' if start else False, num_outs=5, **changes,
    )  # fmt: skip


def detector(kind='RetinaHead', neck='FPN', backbone=BACKBONE, build=None, **changes):
    register_modules('mmdet')
    anchors = dict(
        type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1, ratios=[1.0],
        strides=[8, 16, 32, 64, 128],
    )  # fmt: skip
    heads = dict(
        RetinaHead=dict(
            anchor_generator=anchors,
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            loss_bbox=dict(type='L1Loss'),
        ),
        FCOSHead=dict(norm_cfg=dict(type='GN', num_groups=4, requires_grad=True)),
        ATSSHead=dict(
            anchor_generator=anchors, norm_cfg=dict(type='GN', num_groups=4, requires_grad=True)
        ),
    )
    models = dict(RetinaHead='RetinaNet', FCOSHead='FCOS', ATSSHead='ATSS')
    assigner = dict(type='ATSSAssigner', topk=9) if kind == 'ATSSHead' else dict(
        type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, ignore_iof_thr=-1
    )  # fmt: skip
    head = dict(
        type=kind, num_classes=3, in_channels=16, feat_channels=16, stacked_convs=2, **heads[kind]
    )
    cfg = dict(
        type=models[kind], data_preprocessor=dict(type='DetDataPreprocessor'), backbone=backbone,
        neck=fpn(neck), bbox_head={**head, **changes},
        train_cfg=dict(assigner=assigner, allowed_border=-1, pos_weight=-1, debug=False),
        test_cfg=dict(
            nms_pre=100, min_bbox_size=0, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=10,
        ),
    )  # fmt: skip
    return built(cfg, 'mmdet', build)


def two_stage(backbone=BACKBONE, neck='FPN', build=None):
    register_modules('mmdet')
    rcnn = dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=7),
            out_channels=16, featmap_strides=[4, 8, 16, 32],
        ),
        bbox_head=dict(
            type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=16, roi_feat_size=7,
            num_classes=3, loss_bbox=dict(type='L1Loss'),
        ),
    )  # fmt: skip
    assigner = dict(
        type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, ignore_iof_thr=-1
    )
    sampler = dict(type='RandomSampler', num=32, pos_fraction=0.5, neg_pos_ub=-1)
    common = dict(assigner=assigner, sampler=sampler, pos_weight=-1, debug=False)
    nms = dict(type='nms', iou_threshold=0.7)
    proposals = dict(nms_pre=100, max_per_img=20, nms=nms, min_bbox_size=0)
    cfg = dict(
        type='FasterRCNN', data_preprocessor=dict(type='DetDataPreprocessor'), backbone=backbone,
        neck=fpn(neck, start=0),
        rpn_head=dict(
            type='RPNHead', in_channels=16, feat_channels=16,
            anchor_generator=dict(
                type='AnchorGenerator', scales=[8], ratios=[1.0], strides=[4, 8, 16, 32, 64]
            ),
            loss_bbox=dict(type='L1Loss'),
        ),
        roi_head=rcnn,
        train_cfg=dict(
            rpn={**common, 'allowed_border': -1}, rpn_proposal=proposals,
            rcnn={**common, 'sampler': {**sampler, 'add_gt_as_proposals': True}},
        ),
        test_cfg=dict(rpn=proposals, rcnn=dict(score_thr=0.0, nms=nms, max_per_img=10)),
    )  # fmt: skip
    return built(cfg, 'mmdet', build)


def built(cfg, scope, build):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(scope):
        if build is not None:
            cfg = {**cfg, 'type': 'sparsevit_mm.SparseHeads', 'of': cfg['type'], **build}
        model = MODELS.build(ConfigDict(cfg))
    # Logits that differ, so that windows do.
    for parameter in model.parameters():
        if parameter.ndim == 4:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return model


def register_modules(scope):
    if scope == 'mmseg':
        from mmseg.utils import register_all_modules
    else:
        from mmdet.utils import register_all_modules
    register_all_modules(init_default_scope=False)
