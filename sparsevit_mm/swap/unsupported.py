"""Recognizes models whose backbone cannot be replaced, and says why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsevit_mm.checks.configs import type_name

FUSED = 'its backbone and what follows are one network'
POINTS = 'it reads point clouds'

FUSED_BACKBONES = {
    'BiSeNetV1': 'its context path and spatial path are fused inside the backbone',
    'BiSeNetV2': 'its two branches are fused inside the backbone',
    'CGNet': FUSED,
    'DDRNet': 'its two resolutions exchange maps inside the backbone',
    'DLANet': 'its neck takes six maps from stride 1 on, which no Swin-shaped network has',
    'DetectoRS_ResNet': 'its neck feeds back into the backbone',
    'ERFNet': FUSED,
    'FastSCNN': FUSED,
    'HourglassNet': 'its heads are trained on every hourglass of the backbone',
    'ICNet': 'its backbone runs on three resolutions of the image at once',
    'PIDNet': 'its three branches are fused inside the backbone',
    'SSDVGG': 'its heads read the maps of a VGG and of layers added to it',
    'STDCContextPathNet': 'its context path is fused inside the backbone',
    'TridentResNet': 'its detector is trained on the branches of the backbone',
    'UNet': 'its decoder is inside the backbone',
    'VPD': 'its backbone is a diffusion model with a text encoder',
}

FUSED_NECKS = {
    'DLANeck': FUSED_BACKBONES['DLANet'],
    'MLANeck': 'its neck adds maps of one size, which only a plain transformer has',
    'SSDNeck': 'its heads read maps of the backbone and of layers added to it',
}

HEADS = {
    'DPTHead': 'its head reassembles the tokens of a plain transformer',
    'LRASPPHead': 'its head pools 49 by 49 cells, more than a map of stride 32 has',
}

POINT_KEYS = ('voxel_encoder', 'pts_voxel_encoder', 'voxel_layer', 'pts_backbone')
POINT_BACKBONES = (
    'Asymm3DSpconv', 'DGCNNBackbone', 'MinkResNet', 'MinkUNetBackbone', 'MinkUNetBackboneV2',
    'MultiBackbone', 'PointNet2SAMSG', 'PointNet2SASSG', 'SECOND', 'SPVCNNBackbone',
)  # fmt: skip


def unsupported_reason(model: Mapping[str, Any]) -> str | None:
    """Says why the backbone of a model cannot be swapped.

    Args:
        model: The model's config.

    Returns:
        The reason, as the end of a sentence; None if a swap can be tried.
    """
    if 'language_model' in model or 'text_encoder' in model:
        return 'image and language share one model'
    if 'tracker' in model:
        return 'it is a tracker, whose detector is trained and loaded elsewhere: swap that one'
    host = host_of(model)
    if host is None:
        return POINTS if any(key in model for key in POINT_KEYS) else 'it has no backbone'
    backbone, neck = backbone_of(host), neck_of(host)
    kind = type_name(backbone)
    if kind in POINT_BACKBONES:
        return POINTS
    if kind in FUSED_BACKBONES:
        return FUSED_BACKBONES[kind]
    if 'backbone_3d' in host:
        return 'its 3D backbone continues the one on the image'
    first = neck[0] if isinstance(neck, (list, tuple)) else neck
    if first is not None and type_name(first) in FUSED_NECKS:
        return FUSED_NECKS[type_name(first)]
    roi_head = host.get('roi_head') or {}
    if isinstance(roi_head, Mapping) and roi_head.get('shared_head'):
        return 'its RoI head is the last stage of the ResNet'
    for head in _as_list(host.get('decode_head')):
        if type_name(head) in HEADS:
            return HEADS[type_name(head)]
    return None


def host_of(model: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Finds the part of a model that holds the image backbone: the model or its `detector`."""
    for host in (model, model.get('detector')):
        if isinstance(host, Mapping) and isinstance(backbone_of(host), Mapping):
            return host
    return None


def backbone_key(host: Mapping[str, Any]) -> str:
    """Name of the field of a host that holds the image backbone."""
    return 'img_backbone' if 'img_backbone' in host else 'backbone'


def neck_key(host: Mapping[str, Any]) -> str:
    """Name of the field of a host that holds the neck of the image backbone."""
    return 'img_neck' if 'img_backbone' in host else 'neck'


def backbone_of(host: Mapping[str, Any]) -> Any:
    """Config of the image backbone."""
    return host.get(backbone_key(host))


def neck_of(host: Mapping[str, Any]) -> Any:
    """Config of the neck, a list of such configs, or None."""
    return host.get(neck_key(host))


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
