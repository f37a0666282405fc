"""Tiny detectors of several kinds, as changes of the tiny RetinaNet's config."""

from __future__ import annotations

import torch
from mmdet.structures import DetDataSample

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import build_model
from tests.helpers.tiny_data import DETECTOR, HEIGHT, WIDTH
from tests.tools.test_flags import MASK_DETECTOR_CHANGES

FCOS_CHANGES = """
model['type'] = 'FCOS'
model['bbox_head'] = dict(
    type='FCOSHead', num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1,
    strides=[4, 8], regress_ranges=((-1, 32), (32, 1e8)), norm_cfg=None)
"""
ATSS_CHANGES = """
model['type'] = 'ATSS'
model['bbox_head'] = dict(
    type='ATSSHead', num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1,
    norm_cfg=None, anchor_generator=dict(
        type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1, ratios=[1.0],
        strides=[4, 8]),
    bbox_coder=dict(type='DeltaXYWHBBoxCoder'))
"""
FASTER_CHANGES = (
    MASK_DETECTOR_CHANGES
    + """
model['type'] = 'FasterRCNN'
del model['roi_head']['mask_head'], model['roi_head']['mask_roi_extractor']
"""
)
CASCADE_CHANGES = (
    MASK_DETECTOR_CHANGES
    + """
model['type'] = 'CascadeRCNN'
model['roi_head'].update(
    type='CascadeRoIHead', num_stages=2, stage_loss_weights=[1, 1], bbox_head=[
        dict(type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=16, roi_feat_size=7,
             num_classes=2, reg_class_agnostic=agnostic, bbox_coder=dict(
                 type='DeltaXYWHBBoxCoder', target_stds=[deviation] * 4))
        for agnostic, deviation in [(True, 0.1), (False, 0.05)]])
"""
)
FASTERVIT_CHANGES = """
model['backbone'] = dict(
    type='sparsevit_mm.FasterViT', dim=12, in_dim=12, depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 6),
    window_size=(7, 7, 2, 2), ct_size=1, out_indices=(2, 3))
model['neck']['in_channels'] = [48, 96]
model['bbox_head']['anchor_generator']['strides'] = [16, 32]
"""
CHANGES = {
    'RetinaNet': '',
    'FCOS': FCOS_CHANGES,
    'ATSS': ATSS_CHANGES,
    'Faster R-CNN': FASTER_CHANGES,
    'Mask R-CNN': MASK_DETECTOR_CHANGES,
    'Cascade Mask R-CNN': CASCADE_CHANGES,
}


def detector_config(kind):
    """The text of a tiny detector's config."""
    return DETECTOR + CHANGES[kind]


def small_detector(kind, folder, schedule=0.5, changes=''):
    """A tiny detector whose scores and boxes differ from place to place."""
    path = folder / 'detector.py'
    path.write_text(detector_config(kind) + changes)
    cfg = load_config(str(path))
    register_framework(cfg)
    torch.manual_seed(1)
    model = build_model(cfg).eval()
    model.init_weights()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if 'head' in name:
                parameter.add_(torch.randn_like(parameter) * 0.15)
    model.backbone.pruning_schedule = schedule
    return model


@torch.no_grad()
def predicted(model, images):
    """What MMDetection itself finds in normalized images, in their own pixels."""
    names = ('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape')
    meta = dict.fromkeys(names, (HEIGHT, WIDTH))
    samples = [DetDataSample(metainfo=dict(scale_factor=(1.0, 1.0), **meta)) for _ in images]
    return [sample.pred_instances for sample in model.predict(images, samples)]
