"""Replaces the backbone in a config of an OpenMMLab framework by one of ours."""

from sparsevit_mm.swap.spec import BackboneSpec
from sparsevit_mm.swap.swap import Change, Swap, sparsify, swap_backbone

__all__ = ['BackboneSpec', 'Change', 'Swap', 'sparsify', 'swap_backbone']
