"""Putting our backbones into any config of the OpenMMLab frameworks."""

from sparsevit_mm.swap.spec import BackboneSpec
from sparsevit_mm.swap.swap import Change, Swap, sparsify, swap_backbone

__all__ = ['BackboneSpec', 'Change', 'Swap', 'sparsify', 'swap_backbone']
