"""Tiny detectors of 3D boxes whose scores and boxes differ from place to place."""

from __future__ import annotations

from importlib import import_module

import torch
from mmengine.config import Config

from sparsevit_mm.apis.configs import register_framework
from sparsevit_mm.checks.configs import build_model
from tests.helpers import bevdet_networks

BACKBONE = dict(
    type='sparsevit_mm.SparseViT', embed_dims=12, depths=(1, 1), num_heads=(1, 2), window_size=4,
    pruning_ratios=0.4, out_indices=(0, 1), drop_path_rate=0.0,
)  # fmt: skip
HEAD = dict(
    num_classes=3, feat_channels=16, cls_branch=(16,), dir_branch=(16,), attr_branch=(16,),
    conv_bias=True, norm_cfg=None, loss_cls=dict(type='mmdet.FocalLoss', use_sigmoid=True),
    loss_bbox=dict(type='mmdet.L1Loss'), loss_attr=dict(type='mmdet.CrossEntropyLoss'),
)  # fmt: skip
FCOS3D = dict(
    type='FCOSMono3D', backbone=BACKBONE,
    neck=dict(type='mmdet.FPN', in_channels=[12, 24], out_channels=16, num_outs=2),
    bbox_head=dict(
        type='FCOSMono3DHead', **HEAD, in_channels=16, stacked_convs=1, pred_attrs=True,
        num_attrs=4, pred_velo=True, dir_offset=0.7854, strides=[4, 8], bbox_code_size=9,
        regress_ranges=((-1, 48), (48, 1e8)), group_reg_dims=(2, 1, 3, 1, 2),
        reg_branch=((16,), (16,), (16,), (16,), ()), dcn_on_last_conv=True,
        bbox_coder=dict(type='FCOS3DBBoxCoder', code_size=9), centerness_on_reg=True,
        loss_dir=dict(type='mmdet.CrossEntropyLoss'),
        loss_centerness=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True)),
    test_cfg=dict(use_rotate_nms=True, nms_pre=50, nms_thr=0.2, score_thr=0.05, max_per_img=12),
)  # fmt: skip
SMOKE = dict(
    type='SMOKEMono3D', backbone={**BACKBONE, 'out_indices': (0,)}, neck=None,
    bbox_head=dict(
        type='SMOKEMono3DHead', **{**HEAD, 'feat_channels': 12}, in_channels=12,
        dim_channel=[3, 4, 5], ori_channel=[6, 7],
        stacked_convs=0, use_direction_classifier=False, diff_rad_by_sin=False, pred_attrs=False,
        pred_velo=False, dir_offset=0, strides=None, group_reg_dims=(8,), reg_branch=((16,),),
        num_attrs=0, bbox_code_size=7, loss_dir=dict(type='mmdet.CrossEntropyLoss'),
        bbox_coder=dict(
            type='SMOKECoder', base_depth=(28.0, 16.3), code_size=7,
            base_dims=((0.9, 1.7, 0.7), (1.8, 1.7, 0.6), (3.9, 1.6, 1.5)))),
    test_cfg=dict(topK=100, local_maximum_kernel=3, max_per_img=100),
)  # fmt: skip


def _bevdet():
    """BEVDet with a task of each kind of NMS."""
    model = bevdet_networks.small(backbone=BACKBONE, cells=16)
    model['neck']['in_channels'] = (12, 24)
    model['view_transform']['stride'] = 4
    head, chosen = model['bbox_head'], slice(2, 4)
    head['tasks'] = head['tasks'][chosen]
    head['bbox_coder'].update(max_num=40, score_threshold=0.01)
    head['bbox_coder']['post_center_range'] = [-9, -9, -0.5, 9, 7, 0.5]
    test_cfg = model['test_cfg']
    for key in ('nms_type', 'nms_thr', 'nms_rescale_factor', 'min_radius'):
        test_cfg[key] = test_cfg[key][chosen]
    test_cfg.update(pre_max_size=30, post_max_size=10)
    return model


def small_detector_3d(name):
    """A tiny detector in evaluation: 'fcos3d', 'smoke' or 'bevdet'."""
    register_framework(Config(dict(default_scope='mmdet3d')))
    import_module('sparsevit_mm.det3d.bevdet')
    cfg = {'fcos3d': FCOS3D, 'smoke': SMOKE}.get(name) or _bevdet()
    torch.manual_seed(1)
    model = build_model(Config(dict(default_scope='mmdet3d', model=cfg)))
    model.eval()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if 'head' in parameter_name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            elif 'depth_net' in parameter_name:
                parameter.mul_(100)  # nearly equal cells of the map would swap in the last digits
    return model
