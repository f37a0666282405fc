"""Small models of every framework, and batches of noise that they predict on."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from torch import nn

from sparsevit_mm.apis.configs import register_framework
from sparsevit_mm.checks.configs import build_model
from tests.helpers import bevdet_networks, small_configs
from tests.helpers.tiny_data import SEGMENTOR

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs'
SHIPPED = {
    'mask-rcnn': 'sparsevit/coco/mask-rcnn_sparsevit-t-cfg2_fpn_amp-finetune-3x_coco-672x672.py',
    'cascade': 'fastervit/coco/cascade-mask-rcnn_fastervit-1_fpn_amp-ms-3x_coco.py',
    'retinanet': 'sparsevit/coco/retinanet_sparsevit-t-cfg2_fpn_amp-finetune-3x_coco-672x672.py',
    'dino': 'fastervit/coco/dino-4scale_fastervit-0_8xb2-12e_coco.py',
    'mask2former': 'sparsevit/cityscapes/'
    'mask2former_sparsevit-t-cfg2_8xb2-finetune-45k_cityscapes-512x1024.py',
    'upernet': 'sparsevit/ade20k/sparsevit-t-cfg2_upernet_8xb2-finetune-80k_ade20k-512x512.py',
    'fcos3d': 'fastervit/nuscenes/fcos3d_fastervit-0_fpn_8xb2-1x_nus-mono3d.py',
    'smoke': 'sparsevit/kitti/smoke_sparsevit-t-cfg2_topdown_4xb8-finetune-6x_kitti-mono3d.py',
    'classifier': 'fastervit/imagenet/fastervit-0_8xb128-300e_in1k.py',
}
FCOS = dict(
    type='FCOS',
    data_preprocessor=dict(type='DetDataPreprocessor'),
    backbone=dict(type='mmdet.ResNet', depth=18, base_channels=8, norm_eval=False),
    neck=dict(
        type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=5,
        norm_cfg=dict(type='BN'), start_level=1, add_extra_convs='on_output',
    ),
    bbox_head=dict(
        type='FCOSHead', num_classes=3, in_channels=16, feat_channels=16, stacked_convs=1,
        strides=[8, 16, 32, 64, 128], norm_cfg=dict(type='GN', num_groups=4),
    ),
    test_cfg=dict(nms_pre=100, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5),
                  max_per_img=10),
)  # fmt: skip

TOOD = FCOS | dict(
    type='TOOD',
    bbox_head=dict(
        type='TOODHead', num_classes=3, in_channels=16, feat_channels=16, stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=4), anchor_type='anchor_free',
        anchor_generator=dict(
            type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1,
            strides=[8, 16, 32, 64, 128]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
    ),
    train_cfg=dict(
        initial_epoch=4,
        initial_assigner=dict(type='ATSSAssigner', topk=9),
        assigner=dict(type='TaskAlignedAssigner', topk=13),
        alpha=1, beta=6, allowed_border=-1, pos_weight=-1, debug=False,
    ),
)  # fmt: skip

INSTANCES = 'mmdet::mask2former/mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco.py'


def model_config(name):
    """The config of a small model.

    Args:
        name: One of `SHIPPED`, 'fcn', 'fcos', 'tood', 'bevdet' or 'instances', a Mask2Former.
    """
    if name == 'fcn':
        return Config.fromstring(SEGMENTOR, '.py')
    if name in ('fcos', 'tood'):
        model = FCOS if name == 'fcos' else TOOD
        return Config(dict(default_scope='mmdet', model=model))
    if name == 'bevdet':
        import_module('sparsevit_mm.det3d.bevdet')
        return Config(dict(default_scope='mmdet3d', model=bevdet_networks.small()))
    if name == 'instances':
        cfg = _of_three_things_and_two_stuffs(get_config(INSTANCES))
    else:
        cfg = Config.fromfile(CONFIGS / SHIPPED[name])
    small_configs.without_downloads(cfg)
    if name == 'classifier':
        cfg.model.backbone.update(dim=12, in_dim=12, num_heads=(1, 2, 3, 6))
        cfg.model.update(in_channels=96, num_classes=7)
        return cfg
    shrink = (
        small_configs.with_small_backbone,
        small_configs.with_small_heads,
        small_configs.with_few_layers,
        small_configs.with_few_boxes,
        small_configs.with_every_detection,
    )
    for step in shrink:
        step(cfg)
    return cfg


def _of_three_things_and_two_stuffs(cfg):
    for part in (cfg.model.panoptic_head, cfg.model.panoptic_fusion_head):
        part.update(num_things_classes=3, num_stuff_classes=2)
    cfg.model.panoptic_head.loss_cls.class_weight = [1.0] * 5 + [0.1]
    cfg.model.data_preprocessor.batch_augments = None
    return cfg


def build_trained(name):
    """A small model in evaluation, whose norms, biases and position tables are of a trained one."""
    cfg = model_config(name)
    register_framework(cfg)
    torch.manual_seed(0)
    model = build_model(cfg)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
        for entry in ('bias', 'relative_position_bias_table'):
            parameter = getattr(module, entry, None)
            if isinstance(parameter, nn.Parameter) and not parameter.any():
                nn.init.normal_(parameter, std=0.1)
    if hasattr(model, 'level_embed'):  # memory as it was found, until a training begins
        nn.init.normal_(model.level_embed)
    model.eval()
    return model


def batch_for(name, height=96, width=128, images=1):
    """Images of noise, and data samples as a test pipeline gives them.

    Returns:
        Inputs and data samples; None instead of samples for a classifier.
    """
    noise = torch.randn(images, 3, height, width)
    size = dict(
        img_shape=(height, width),
        ori_shape=(height, width),
        batch_input_shape=(height, width),
        pad_shape=(height, width),
        scale_factor=(1.0, 1.0),
    )
    if name == 'classifier':
        return noise, None
    if name in ('fcn', 'upernet', 'mask2former'):
        from mmseg.structures import SegDataSample

        return noise, [SegDataSample(metainfo=dict(size)) for _ in noise]
    if name in ('fcos3d', 'smoke', 'bevdet'):
        return _batch_3d(name, noise, size)
    from mmdet.structures import DetDataSample

    return noise, [DetDataSample(metainfo=dict(size)) for _ in noise]


def _batch_3d(name, noise, size):
    from mmdet3d.structures import CameraInstance3DBoxes, Det3DDataSample, LiDARInstance3DBoxes

    camera = np.array([[90.0, 0, 64], [0, 90, 48], [0, 0, 1]])
    if name == 'bevdet':
        eye = np.eye(4)
        meta = dict(
            cam2img=np.stack([camera] * len(noise)),
            cam2bev=np.stack([eye] * len(noise)),
            img_aug=np.stack([np.eye(3)] * len(noise)),
            bev_aug=np.eye(3),
            box_type_3d=LiDARInstance3DBoxes,
        )
        return dict(imgs=noise[None]), [Det3DDataSample(metainfo=meta)]
    projection = np.eye(4)
    projection[:3, :3] = camera
    meta = dict(
        **size,
        cam2img=projection.tolist(),
        trans_mat=np.diag([0.25, 0.25, 1]),
        box_type_3d=CameraInstance3DBoxes,
    )
    return dict(imgs=noise), [Det3DDataSample(metainfo=dict(meta)) for _ in noise]


def raw_outputs(model, inputs, samples):
    """All tensors that the heads give, before boxes are made of them."""
    with torch.inference_mode():
        if hasattr(model, 'decode_head'):  # that of Mask2Former needs the samples, too
            head, features = model.decode_head, model.extract_feat(inputs)
            found = head(features, samples) if 'Mask' in type(head).__name__ else head(features)
        else:
            found = model(inputs, samples, mode='tensor')
    return list(_tensors(found))


def predict(model, inputs, samples):
    """What a user gets: data samples, or a classifier's scores."""
    from copy import deepcopy

    with torch.inference_mode():
        return model(inputs, deepcopy(samples), mode='predict')


def _tensors(found):
    if isinstance(found, torch.Tensor):
        yield found
    elif isinstance(found, dict):
        yield from _tensors(list(found.values()))
    elif isinstance(found, (list, tuple)):
        for item in found:
            yield from _tensors(item)


def decode_in_its_own_way(model: nn.Module, method: str) -> None:
    """Gives a model a head, called Head, that replaces a method of its class."""
    kind = type(model.bbox_head)
    model.bbox_head.__class__ = type('Head', (kind,), {method: lambda self, *args, **kwargs: None})
