"""Folds batch norms into the convolutions before them, wherever a class says that they are.

A batch norm in evaluation multiplies and shifts each channel by fixed numbers, which the weights of
a convolution can do. What follows what is known of `nn.Sequential`, mmcv's `ConvModule` and the
blocks of MMDetection's and MMSegmentation's ResNet; other modules keep their norms.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

from mmengine.utils.dl_utils.parrots_wrapper import SyncBatchNorm
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sparsevit_mm.deployment.plain_layers import is_layer
from sparsevit_mm.models.sparse_heads import SparseConv2d
from sparsevit_mm.models.sparse_heads.convolution import is_repeated_module
from sparsevit_mm.ops.backend import is_plain

_RESNETS = (
    ('mmdet', 'mmdet.models.backbones.resnet'),
    ('mmseg', 'mmseg.models.backbones.resnet'),
)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, SyncBatchNorm)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, SparseConv2d)


def fold_batch_norms(model: nn.Module) -> int:
    """Folds batch norms into convolutions, in place; each leaves an `nn.Identity`.

    A convolution that several norms share, such as between the levels of a head, becomes one for
    each of them.

    Args:
        model: In evaluation.

    Returns:
        How many were folded.
    """
    count = 0
    for owner in list(model.modules()):
        for conv_name, norm_name in _neighbors(owner):
            conv, norm = (owner._modules.get(name) for name in (conv_name, norm_name))
            if conv is None or norm is None or not _foldable(conv, norm):
                continue
            fused: Any = fuse_conv_bn_eval
            owner._modules[conv_name] = fused(conv, norm)
            owner._modules[norm_name] = nn.Identity().eval()
            count += 1
    return count


def _foldable(conv: nn.Module, norm: nn.Module) -> bool:
    return (
        any(is_layer(conv, kind) for kind in _CONVOLUTIONS)
        and any(is_plain(norm, kind) for kind in _NORMS)
        and not norm.training
        and norm.running_mean is not None
    )


def _neighbors(owner: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of convolutions and of the modules that are called with nothing but their outputs."""
    if _computes_as(owner, nn.Sequential):
        yield from pairwise(owner._modules)
        return
    if find_spec('mmcv') is not None:
        from mmcv.cnn import ConvModule

        if _computes_as(owner, ConvModule) or is_repeated_module(owner):
            part: Any = owner
            adjacent = part.order.index('norm') == part.order.index('conv') + 1
            if part.with_norm and adjacent and part.efficient_conv_bn_eval_forward is None:
                yield 'conv', part.norm_name
            return
    for package, module in _RESNETS:
        if find_spec(package) is None:
            continue
        resnet = import_module(module)
        if any(_computes_as(owner, kind) for kind in (resnet.BasicBlock, resnet.Bottleneck)) or (
            _computes_as(owner, resnet.ResNet) and not owner.deep_stem
        ):
            for number in (1, 2, 3):
                if hasattr(owner, f'norm{number}_name'):
                    yield f'conv{number}', getattr(owner, f'norm{number}_name')
            return


def _computes_as(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module's forward is that of a class."""
    return (
        isinstance(module, kind)
        and type(module).forward is kind.forward
        and 'forward' not in module.__dict__
    )
