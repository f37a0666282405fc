# Mask R-CNN, learned by heart: what its ONNX file finds is compared with what it finds itself.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    './_base_/sparsevit-micro_200it_coco-mini-320x320.py',
]

model = dict(
    backbone={{_base_.backbone}},
    neck=dict(in_channels=[24, 48, 96, 192], out_channels={{_base_.channels}}),
    rpn_head=dict(in_channels={{_base_.channels}}, feat_channels={{_base_.channels}}),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels={{_base_.channels}}),
        bbox_head=dict(
            in_channels={{_base_.channels}}, fc_out_channels=256, num_classes=1),
        mask_roi_extractor=dict(out_channels={{_base_.channels}}),
        mask_head=dict(
            num_convs=2,
            in_channels={{_base_.channels}},
            conv_out_channels={{_base_.channels}},
            num_classes=1)))
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
