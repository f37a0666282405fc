"""The networks that take turns in a run: ours at several ratios, and their peers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from benchmarks.peers import fastervit_package, mmdet_swin, timm_swin
from benchmarks.plain_sparsevit import PlainSparseViT
from sparsevit_mm import SparseViT
from sparsevit_mm.models.classifier import ImageClassifier
from sparsevit_mm.models.fastervit_arch import FasterViTArch
from sparsevit_mm.ops.backend import use

Build = Callable[[int, int], nn.Module]

SCHEDULES: dict[str, Any] = {
    'dense': 0.0,
    'cfg1': [[0.3], [0.0], [0.1, 0.2, 0.2], [0.0]],
    'cfg2': [[0.6], [0.0], [0.2, 0.4, 0.5], [0.0]],
    'cfg3': [[0.7], [0.0], [0.2, 0.4, 0.5], [0.0]],
    'uniform 0.3': 0.3,
    'uniform 0.6': 0.6,
}
"""The authors' three for COCO, and the same ratio everywhere."""

COMPARED = ('dense', 'cfg2', 'uniform 0.6')
"""Schedules that are computed in other ways, too."""

FASTERVIT_VARIANTS = ('0', '1', '2', '3', '4')


def sparsevit(schedule: str) -> Build:
    """Builds SparseViT-T at one of `SCHEDULES`."""
    return lambda height, width: SparseViT(pruning_ratios=SCHEDULES[schedule]).eval()


class _PytorchAlone(nn.Module):
    """A network with `backend.use('pytorch')`: without Triton's kernels and oneDNN's products."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        with use('pytorch'):
            return self.network(images)


def pytorch_sparsevit(schedule: str) -> Build:
    """Builds SparseViT-T at one of `SCHEDULES`, computed by PyTorch's own choice of operators."""
    return lambda height, width: _PytorchAlone(SparseViT(pruning_ratios=SCHEDULES[schedule]).eval())


def plain_sparsevit(schedule: str) -> Build:
    """Builds the plain gather, compute, scatter at one of `SCHEDULES`."""
    return lambda height, width: PlainSparseViT(
        SparseViT(pruning_ratios=SCHEDULES[schedule]).eval()
    )


def fastervit(variant: str, deployed: bool, ratios: Any = 0.0) -> Build:
    """Builds our FasterViT with the head of the package's, in its inference form if wanted."""

    def build(height: int, width: int) -> nn.Module:
        dims = FasterViTArch.build(variant).stage_dims[-1]
        backbone = dict(
            type='sparsevit_mm.FasterViT', arch=variant, out_indices=(3,), pruning_ratios=ratios
        )
        classifier = ImageClassifier(backbone, dims).eval()
        return classifier.switch_to_deploy() if deployed else classifier

    return build


NETWORKS: dict[str, Build] = {
    'mmdet Swin-T': mmdet_swin,
    'timm Swin-T': timm_swin,
    **{f'SparseViT-T {name}': sparsevit(name) for name in SCHEDULES},
    **{f'plain SparseViT-T {name}': plain_sparsevit(name) for name in COMPARED},
    **{f'SparseViT-T {name}, pytorch': pytorch_sparsevit(name) for name in COMPARED},
}
for _variant in FASTERVIT_VARIANTS:
    NETWORKS[f'fastervit package {_variant}'] = fastervit_package(_variant)
    NETWORKS[f'FasterViT-{_variant}'] = fastervit(_variant, deployed=False)
    NETWORKS[f'FasterViT-{_variant} deployed'] = fastervit(_variant, deployed=True)
    NETWORKS[f'FasterViT-{_variant} deployed, 0.6'] = fastervit(_variant, True, ratios=0.6)
