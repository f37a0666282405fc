"""What a user might pick instead of our backbones, for a run side by side; none is required.

A peer that is not installed, or does not import here, is left out of a run.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

_TORCHVISION_OPERATORS = (
    ('nms', 'Tensor dets, Tensor scores, float iou_threshold'),
    ('qnms', 'Tensor dets, Tensor scores, float iou_threshold'),
    *(
        (name, 'Tensor input')
        for pooling in ('roi_align', 'roi_pool', 'ps_roi_align', 'ps_roi_pool', 'deform_conv2d')
        for name in (pooling, f'_{pooling}_backward')
    ),
    ('qroi_align', 'Tensor input'),
)


class MissingPeer(ImportError):
    """A peer that is not installed or does not import here."""


@lru_cache(maxsize=1)
def declare_torchvision_operators() -> Any:
    """Lets torchvision be imported beside a torch that its compiled part was not built for.

    timm and fastervit import torchvision and use none of its operators. Call it before anything
    imports torchvision.

    Returns:
        What keeps the operators declared, or None where torchvision is absent or complete.
    """
    if importlib.util.find_spec('torchvision') is None or torch.version.cuda is not None:
        return None
    library = torch.library.Library('torchvision', 'DEF')
    for name, arguments in _TORCHVISION_OPERATORS:
        library.define(f'{name}({arguments}) -> Tensor')
    return library


def mmdet_swin(height: int, width: int) -> nn.Module:
    """MMDetection's Swin-T, which takes images of any size, in half precision under autocast.

    Raises:
        MissingPeer: If it does not import.
    """
    declare_torchvision_operators()
    return _UnderAutocast(_imported('mmdet.models.backbones').SwinTransformer()).eval()


class _UnderAutocast(nn.Module):
    """A network whose masks are float32, so that it takes half precision under autocast alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        if images.dtype == torch.float32:
            return self.network(images)
        with torch.autocast(images.device.type, images.dtype):
            return self.network(images)


def timm_swin(height: int, width: int) -> nn.Module:
    """Timm's Swin-T for one image size, with fused attention.

    Raises:
        MissingPeer: If it does not import.
    """
    declare_torchvision_operators()
    timm = _imported('timm')
    timm.layers.set_fused_attn(True, experimental=True)
    network: nn.Module = timm.create_model(
        'swin_tiny_patch4_window7_224',
        features_only=True,
        img_size=(height, width),
        out_indices=(0, 1, 2, 3),
    )
    return network.eval()


def fastervit_package(variant: str) -> Callable[[int, int], nn.Module]:
    """The authors' FasterViT classifier, as a black box.

    Args:
        variant: '0' to '6'.

    Returns:
        Builds it for an image size: for 224 x 224 the released network, else the one for any
        resolution. Raises `MissingPeer` if it does not import.
    """

    def build(height: int, width: int) -> nn.Module:
        declare_torchvision_operators()
        create = _imported('fastervit').create_model
        if (height, width) == (224, 224):
            network: nn.Module = create(f'faster_vit_{variant}_224')
        else:
            network = create(f'faster_vit_{variant}_any_res', resolution=[height, width])
        return network.eval()

    return build


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # a package may fail in any way on a torch it was not made for
        raise MissingPeer(f'{name} does not import here: {error}') from error
