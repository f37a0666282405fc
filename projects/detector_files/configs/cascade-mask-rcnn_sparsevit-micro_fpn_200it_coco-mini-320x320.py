# Cascade Mask R-CNN, learned by heart: what its ONNX file finds is compared with what it finds.
_base_ = [
    'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py',
    './_base_/sparsevit-micro_200it_coco-mini-320x320.py',
]

box_heads = [
    dict(
        type='Shared2FCBBoxHead',
        in_channels={{_base_.channels}},
        fc_out_channels=256,
        roi_feat_size=7,
        num_classes=1,
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0.0] * 4,
            target_stds=[deviation, deviation, 2 * deviation, 2 * deviation]),
        reg_class_agnostic=True,
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0))
    for deviation in (0.1, 0.05, 0.033)
]
model = dict(
    backbone={{_base_.backbone}},
    neck=dict(in_channels=[24, 48, 96, 192], out_channels={{_base_.channels}}),
    rpn_head=dict(in_channels={{_base_.channels}}, feat_channels={{_base_.channels}}),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels={{_base_.channels}}),
        bbox_head=box_heads,
        mask_roi_extractor=dict(out_channels={{_base_.channels}}),
        mask_head=dict(
            num_convs=2,
            in_channels={{_base_.channels}},
            conv_out_channels={{_base_.channels}},
            num_classes=1)))
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
