# RetinaNet, learned by heart: what its ONNX file finds is compared with what it finds itself.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    './_base_/sparsevit-micro_200it_coco-mini-320x320.py',
]

model = dict(
    backbone={{_base_.backbone}},
    neck=dict(in_channels=[24, 48, 96, 192], start_level=0, out_channels={{_base_.channels}}),
    bbox_head=dict(
        num_classes=1,
        in_channels={{_base_.channels}},
        feat_channels={{_base_.channels}},
        stacked_convs=2,
        anchor_generator=dict(strides=[4, 8, 16, 32, 64])))
