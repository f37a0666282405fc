"""Models whose backbone is no module of its own: what they are, and why a swap makes no sense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def why_not(model: Mapping[str, Any]) -> str | None:
    """Why a model's backbone cannot be swapped, or None if nothing speaks against it.

    Args:
        model: The model's config.
    """
    if 'language_model' in model or 'text_encoder' in model:
        return 'image and language share one model'
    if 'tracker' in model:
        return 'it is a tracker, whose detector is trained and loaded elsewhere: swap that one'
    host = host_of(model)
    if host is None:
        return POINTS if any(key in model for key in POINT_KEYS) else 'it has no backbone'
    backbone, neck = backbone_of(host), neck_of(host)
    kind = _type(backbone)
    if kind in POINT_BACKBONES:
        return POINTS
    if kind in FUSED_BACKBONES:
        return FUSED_BACKBONES[kind]
    if 'backbone_3d' in host:
        return 'its 3D backbone continues the one on the image'
    first = neck[0] if isinstance(neck, (list, tuple)) else neck
    if first is not None and _type(first) in FUSED_NECKS:
        return FUSED_NECKS[_type(first)]
    roi_head = host.get('roi_head') or {}
    if isinstance(roi_head, Mapping) and roi_head.get('shared_head'):
        return 'its RoI head is the last stage of the ResNet'
    for head in _as_list(host.get('decode_head')):
        if _type(head) in HEADS:
            return HEADS[_type(head)]
    return None


def host_of(model: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The part of a model that has an image backbone: the model, or the detector it wraps."""
    for host in (model, model.get('detector')):
        if isinstance(host, Mapping) and isinstance(backbone_of(host), Mapping):
            return host
    return None


def backbone_key(host: Mapping[str, Any]) -> str:
    """Where the image backbone stands in its host."""
    return 'img_backbone' if 'img_backbone' in host else 'backbone'


def neck_key(host: Mapping[str, Any]) -> str:
    """Where the neck behind the image backbone stands, if there is one."""
    return 'img_neck' if 'img_backbone' in host else 'neck'


def backbone_of(host: Mapping[str, Any]) -> Any:
    """The config of the image backbone."""
    return host.get(backbone_key(host))


def neck_of(host: Mapping[str, Any]) -> Any:
    """The config of the neck behind it, a list of them, or None."""
    return host.get(neck_key(host))


def _type(cfg: Any) -> str:
    kind = cfg.get('type') if isinstance(cfg, Mapping) else None
    return str(kind).rpartition('.')[2]


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
